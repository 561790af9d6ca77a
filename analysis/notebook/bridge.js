((name, news) => {
  const lab = (window.flexloraLab ??= { news: {}, views: {} });
  const tell = (to) => to.postMessage({ flexlora: name, news: lab.news[name], view: null }, "*");
  if (!lab.listens) {
    lab.listens = true;
    window.addEventListener("message", ({ source, data }) => {
      const own = data?.flexlora;
      if (typeof own !== "string" || ![...document.getElementsByName(own)].some((frame) => frame.contentWindow === source)) return;
      if (data.view) lab.views[own] = data.view;
      if (data.ready) source.postMessage({ flexlora: own, news: lab.news[own] ?? null, view: lab.views[own] ?? null }, "*");
    });
  }
  lab.news[name] = news;
  if (news) for (const frame of document.getElementsByName(name)) if (frame.contentWindow) tell(frame.contentWindow);
})
