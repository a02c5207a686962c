export const root: string;
export const orders: string[];
export interface Meeting {
  code: number | null;
  signal: string | null;
  stderr: string;
  milliseconds: number;
  vectors: string[];
  did: Record<string, string>;
  /** Files of the process's libraries, on Linux. */
  libraries: string[];
}
export function meet(
  names: string[],
  order: string,
  setup: { addon: string; folder: string; temporary: string },
  more?: Record<string, string>,
): Meeting;
