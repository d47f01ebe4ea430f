// Fetches the page again and puts its new parts in place of the old ones.
const EVERY = 5000;
const PATIENCE = 10000;
const fresh = document.getElementById('fresh');
const button = document.getElementById('pause');
let paused = false;
let last = new Date();

const time = when => when.toLocaleTimeString();

function say(stale) {
  const text = paused ? `Paused at ${time(last)}` : stale ? `No answer since ${time(last)}` : '';
  if (fresh.textContent !== text) fresh.textContent = text;
  fresh.parentElement.classList.toggle('stale', stale && !paused);
}

async function refresh() {
  const answer = await fetch(location.pathname + location.search, {headers: {Accept: 'text/html'}, signal: AbortSignal.timeout(PATIENCE)});
  if (!answer.ok) throw new Error(answer.statusText);
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  // What somebody is marking is left alone.
  if (paused || String(getSelection())) return;
  for (const selector of ['#main', '.state', '.build']) {
    const [now, then] = [page.querySelector(selector), document.querySelector(selector)];
    if (now && then && now.outerHTML !== then.outerHTML) then.replaceWith(document.importNode(now, true));
  }
  document.title = page.title;
}

async function turn() {
  if (!paused && !document.hidden) {
    try {
      await refresh();
      last = new Date();
      say(false);
    } catch {
      say(true);
    }
  }
  setTimeout(turn, EVERY);
}

button.hidden = false;
button.addEventListener('click', () => {
  paused = !paused;
  button.setAttribute('aria-pressed', String(paused));
  button.textContent = paused ? 'Go on' : 'Pause';
  say(false);
});
setTimeout(turn, EVERY);
