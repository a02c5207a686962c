// An ONNX file made by hand: y = a · b for any a [2, 3] and b [3, 2]. Protocol buffers with the field numbers of onnx.proto.
const varint = (value) => {
  const bytes = [];
  for (let left = value; ; left = Math.floor(left / 128)) {
    if (left < 128) return Buffer.from([...bytes, left]);
    bytes.push((left % 128) + 128);
  }
};
const number = (field, value) => Buffer.concat([varint(field * 8), varint(value)]);
const bytes = (field, ...parts) => {
  const content = Buffer.concat(parts.map((part) => Buffer.from(part)));
  return Buffer.concat([varint(field * 8 + 2), varint(content.length), content]);
};

const float32 = 1;
const tensor = (field, name, dims) => {
  const shape = bytes(2, ...dims.map((dim) => bytes(1, number(1, dim))));
  return bytes(field, bytes(1, name), bytes(2, bytes(1, number(1, float32), shape)));
};

exports.productModel = () => {
  const node = bytes(1, bytes(1, "a"), bytes(1, "b"), bytes(2, "y"), bytes(4, "MatMul"));
  const graph = bytes(
    7,
    node,
    bytes(2, "g"),
    tensor(11, "a", [2, 3]),
    tensor(11, "b", [3, 2]),
    tensor(12, "y", [2, 2]),
  );
  return Buffer.concat([number(1, 8), graph, bytes(8, number(2, 13))]);
};
