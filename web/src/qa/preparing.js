// How far the server has come with what it renders of the open call: asked while something is waited for.
import { ask, callPath } from "./api.js";

const ASK_MS = 500;

export const percentOf = (open, what) => (open.preparing[what] === undefined ? "" : ` · ${open.preparing[what]} %`);

const waits = (app) => app.player.state === "loading" || [...app.querySelectorAll(".pictures video")].some((video) => video.readyState < 2 && !video.error);

export async function watchPreparing(app, open) {
  while (app.open === open && waits(app)) {
    const said = await ask("GET", callPath(open.call.id, "/preparing")).catch(() => null);
    if (!said) return; // the sound itself tells what is wrong
    open.preparing = said.preparing;
    app.requestUpdate();
    await new Promise((done) => setTimeout(done, ASK_MS));
  }
  open.preparing = {};
  app.requestUpdate();
}
