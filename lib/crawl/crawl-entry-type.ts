/** What an entry of a folder is, in the words of a reason for skipping it. */
export type EntryType = "file" | "folder" | "symbolic link" | "named pipe" | "socket" | "device" | "unknown";

interface TypeTests {
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
  isFIFO(): boolean;
  isSocket(): boolean;
  isBlockDevice(): boolean;
  isCharacterDevice(): boolean;
}

/** Of a Dirent or Stats; "unknown" where the file system does not tell it with the name. */
export function entryType(entry: TypeTests): EntryType {
  if (entry.isFile()) return "file";
  if (entry.isDirectory()) return "folder";
  if (entry.isSymbolicLink()) return "symbolic link";
  if (entry.isFIFO()) return "named pipe";
  if (entry.isSocket()) return "socket";
  return entry.isBlockDevice() || entry.isCharacterDevice() ? "device" : "unknown";
}
