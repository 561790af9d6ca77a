/** Which version of a lesson a reader gets: the first, unless who leads a class asks for another, or for a coin of each browser's. */

/** @import { Memory } from "./memory.js" */

/** In the address: each browser draws one of the versions, so that they can be compared. */
const COIN = "coin";

/** @param {{key: string, versions?: Record<string, string> | null}} lesson @param {Memory} memory @param {string | null} asked in the address, by who leads a class @returns {string | null} null = there is one version only */
export function versionOf({ key, versions }, memory, asked) {
  const names = Object.keys(versions ?? {});
  if (!names.length) return null;
  const { versions: given, switched } = memory.now;
  const known = names.includes(given[key]) ? given[key] : null;
  const wanted = asked === COIN && !known ? names[crypto.getRandomValues(new Uint8Array(1))[0] % names.length] : asked;
  if (wanted && names.includes(wanted) && wanted !== known) {
    const { [key]: _, ...others } = switched;
    memory.keep({ versions: { ...given, [key]: wanted }, switched: others });
    return wanted;
  }
  return names.includes(switched[key]) ? switched[key] : (known ?? names[0]);
}

/** The reader takes another version; what was given stays, for a comparison is of what was given. @param {string} key of a lesson @param {string} version @param {Memory} memory */
export function switchVersion(key, version, memory) {
  memory.keep({ switched: { ...memory.now.switched, [key]: version } });
}
