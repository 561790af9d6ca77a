// look.troubles(): what is wrong with the step on the page, a line each; look.tall(): pixels that the page would need.
window.look = {
  all(selector, root = document) {
    const own = [...root.querySelectorAll(selector)];
    const inner = [...root.querySelectorAll("*")].flatMap((node) => (node.shadowRoot ? look.all(selector, node.shadowRoot) : []));
    return [...own, ...inner];
  },
  seen(node) {
    return node.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && node.getBoundingClientRect().width > 0;
  },
  tall() {
    const main = document.querySelector("[data-testid=stMain]") ?? document.documentElement;
    return main.scrollHeight + (window.innerHeight - main.clientHeight);
  },
  // What has the keyboard, where that is not seen: it has no ring, or lies outside the window or under something else.
  unseen() {
    const node = held();
    const said = `${node.tagName}.${node.className.baseVal ?? node.className} ${(node.getAttribute("aria-label") ?? node.textContent).slice(0, 30)}`;
    if (node === document.body || !node.closest(".ln, .fl-player")) return null;
    const [style, box] = [getComputedStyle(node), node.getBoundingClientRect()];
    const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
    let over = document.elementFromPoint(x, y);
    while (over?.shadowRoot?.elementFromPoint(x, y) && over.shadowRoot.elementFromPoint(x, y) !== over) over = over.shadowRoot.elementFromPoint(x, y);
    if (style.outlineStyle === "none" && style.boxShadow === "none") return `no ring: ${said}`;
    if (box.bottom < 0 || box.top > innerHeight) return `outside the window: ${said} at ${Math.round(box.top)}`;
    return over && (node.contains(over) || over.contains(node)) ? null : `covered: ${said} by ${over?.tagName}.${over?.className.baseVal ?? over?.className}`;
  },
  troubles() {
    const lines = [];
    for (const node of [document.documentElement, ...look.all("[data-testid=stMain], .ln, .ln-text, .ln-stage, .ln-front, .fl-player")]) {
      if (look.seen(node) && node.scrollWidth > node.clientWidth + 1) lines.push(`wider than its place: ${node.tagName}.${node.className.baseVal ?? node.className} ${node.scrollWidth} > ${node.clientWidth}`);
    }
    for (const picture of look.all(".ln-picture svg")) {
      const frame = picture.parentElement.getBoundingClientRect();
      const texts = [...picture.querySelectorAll("text")].filter((own) => own.textContent && look.seen(own));
      const boxes = texts.map((own) => own.getBoundingClientRect());
      boxes.forEach((box, i) => {
        const text = texts[i].textContent;
        if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1) lines.push(`beyond its picture: ${text}`);
        if (texts[i].getAttribute("transform")) return;
        boxes.forEach((other, k) => {
          if (k <= i || texts[k].getAttribute("transform")) return;
          const [w, h] = [Math.min(box.right, other.right) - Math.max(box.left, other.left), Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top)];
          if (w > 1 && h > 4) lines.push(`over another: ${text} / ${texts[k].textContent}`);
        });
      });
    }
    for (const node of look.all(".ln *, .fl-player *")) {
      if (!look.seen(node) || node instanceof SVGElement || !node.childNodes.length || ![...node.childNodes].some((own) => own.nodeType === 3 && own.textContent.trim())) continue;
      const style = getComputedStyle(node);
      if (node.scrollWidth > node.clientWidth + 1 && style.overflowX !== "visible" && style.display !== "inline" && !node.matches("select")) lines.push(`cut: ${node.className} "${node.textContent.slice(0, 60)}" ${node.scrollWidth} > ${node.clientWidth}`);
    }
    const stage = look.all(".ln-stage")[0];
    const body = look.all(".ln-body")[0];
    if (stage && !look.all(".ln-narrow").length) {
      const low = Math.max(...look.all(".ln-stage > :not([hidden]), .ln-stage .fl-player > *, .ln-dial > *").filter(look.seen).map((own) => own.getBoundingClientRect().bottom));
      if (low > window.innerHeight + 1) lines.push(`below the fold: stage ends at ${Math.round(low)} of ${window.innerHeight}, body at ${Math.round(body.getBoundingClientRect().bottom)}`);
    }
    return [...new Set(lines)];
  },
};
