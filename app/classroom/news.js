/** What the server tells of the class, and what it is told: one conversation a page, however often its bar is drawn anew. */

/**
 * @typedef {{number: number, question: string, choices: string[], open: boolean, counts: number[] | null, vote: number | null, revealed?: boolean}} Poll revealed: told to the leader only, who always gets the counts
 * @typedef {{on: boolean, page: string, query: Record<string, string>, number: number}} Lead
 * @typedef {{version: number, name: string, leads: boolean, members: number, lead: Lead, poll: Poll | null}} News members: who is in the class without leading it
 */

const AGAIN_MS = 1500; // after a server that does not answer

export class Conversation {
  constructor() {
    /** @type {News | null} */
    this.news = null;
    /** @type {string} why nothing comes; empty = all is well */
    this.trouble = "";
    /** @type {() => void} */
    this.changed = () => {};
    this.asking = false;
  }

  /** Asks as long as the page stands and can be seen: a hidden tab holds no connection that others want. */
  async listen() {
    if (this.asking) return;
    this.asking = true;
    while (true) {
      if (document.hidden) await new Promise((seen) => document.addEventListener("visibilitychange", seen, { once: true }));
      await this.ask();
    }
  }

  async ask() {
    try {
      const answer = await fetch(place(`state?since=${this.news?.version ?? -1}`));
      if (answer.ok && answer.status !== 204) this.accept(await answer.json(), true);
      // Who was taken out gets the page at which one joins.
      if (answer.status === 401) window.location.reload();
      this.say(answer.ok ? "" : await answer.text());
      if (answer.ok) return;
    } catch {
      this.say("The server does not answer.");
    }
    await new Promise((later) => window.setTimeout(later, AGAIN_MS));
  }

  /** @param {News} news @param {boolean} asked an answer to `ask`; what else is told may have been overtaken */
  accept(news, asked) {
    if (asked || news.version >= (this.news?.version ?? 0)) this.news = news;
  }

  /** @param {string} trouble */
  say(trouble) {
    this.trouble = trouble.slice(0, 200);
    this.changed();
  }

  /** @param {"vote" | "progress" | "lead" | "poll"} what @param {object} content @returns {Promise<boolean>} whether the server took it */
  async tell(what, content) {
    try {
      const answer = await fetch(place(what), { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) });
      if (answer.ok) this.accept(await answer.json(), false);
      this.say(answer.ok ? "" : await answer.text());
      return answer.ok;
    } catch {
      this.say("The server does not answer.");
      return false;
    }
  }
}

/** @param {string} what */
function place(what) {
  return new URL(`lab/class/${what}`, document.baseURI);
}
