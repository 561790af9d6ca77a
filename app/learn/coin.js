/** Which of two versions of a lesson a reader gets: by a coin of the browser's, or as the address says. */

/** @import { Memory } from "./memory.js" */

/** @param {{key: string, versions?: Record<string, string> | null}} lesson @param {Memory} memory @param {string | null} asked in the address, by who leads a class @returns {string | null} null = there is one version only */
export function versionOf({ key, versions }, memory, asked) {
  const names = Object.keys(versions ?? {});
  if (!names.length) return null;
  const before = memory.now.versions[key];
  const version = asked && names.includes(asked) ? asked : names.includes(before) ? before : names[crypto.getRandomValues(new Uint8Array(1))[0] % names.length];
  if (version !== before) memory.keep({ versions: { ...memory.now.versions, [key]: version } });
  return version;
}
