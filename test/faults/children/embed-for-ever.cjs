// Embeds again and again until a call fails; exit code 3 for GME_CHANGED_WHILE_OPEN. argv[2]: { addon, model, loadParams, embedParams }.
const { addon, model, loadParams, embedParams } = JSON.parse(process.argv[2]);

async function main() {
  const gme = await require(addon).load(model, loadParams).promise;
  console.log("embedding");
  for (let i = 0; ; i++) await gme.embed([{ text: `a cat, number ${i}` }], embedParams).promise;
}

main().catch((error) => process.exit(error.code === "GME_CHANGED_WHILE_OPEN" ? 3 : 4));
