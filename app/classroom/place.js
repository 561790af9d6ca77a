/** Where a browser is in the app: the page's name in the address, and its parameters. */

/** @typedef {{page: string, query: Record<string, string>}} Place */

const HOME = "explore"; // the first page has no name in the address

/** @returns {Place} */
export function here() {
  const root = new URL(".", document.baseURI).pathname;
  const { pathname, search } = window.location;
  const page = pathname.startsWith(root) ? pathname.slice(root.length).split("/")[0] : "";
  return { page: page === HOME ? "" : page, query: Object.fromEntries(new URLSearchParams(search)) };
}

/** @param {Place} one @param {Place} other */
export function same(one, other) {
  const names = Object.keys(one.query);
  return one.page === other.page && names.length === Object.keys(other.query).length && names.every((name) => one.query[name] === other.query[name]);
}
