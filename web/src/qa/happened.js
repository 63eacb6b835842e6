// What happened in a call, in plain words and in order: from lanes, scores and events. Each is one entry
// { lane, from, to, text, grade }; the lanes draw them, the list tells them, both lead to the moment.
import { clock } from "./format.js";

export const LANES = ["mos", "loss", "jitter", "hold", "keys", "consent", "joined", "transfer", "pause", "damage", "silence", "overtalk", "prompt", "comment"];
const LOSS_MIN = 0.005; // half a percent in an interval: below it nobody hears it
const JITTER_MS_MIN = 30; // a jitter buffer of two packets hides less
export const gradeOf = (mos) => (mos >= 4.03 ? "good" : mos >= 3.6 ? "fair" : "bad"); // G.107 Annex B

export function happened({ lanes, scores = [], events = [], comments = [] }, say) {
  const found = [];
  const start = lanes?.start ?? 0;
  const length = lanes?.length ?? 0;
  const put = (lane, from, to, text, grade = "") => {
    if (to < 0 || from > length) return;
    found.push({ lane, from: Math.max(0, from), to: Math.min(length, Math.max(from, to)), text, grade });
  };
  const parties = lanes?.parties ?? [];
  const side = (leg) => say(parties.find((party) => party.leg === leg)?.role === "caller" ? "caller_side" : "callee_side");
  const who = (role) => say(role === "caller" ? "the_caller" : "the_callee");

  for (const score of scores.filter((one) => !one.whole_call)) {
    const [from, to] = [score.start - start, score.start - start + score.length];
    const words = { side: side(score.leg), at: clock(from), to: clock(to), mos: score.mos.toFixed(2) };
    const cause = score.cause ? say(`cause_${score.cause}`) : "";
    put("mos", from, to, say(score.direction === "received" ? "mos_from" : "mos_to", words) + (cause && score.mos < 4.03 ? `: ${cause}` : ""), gradeOf(score.mos));
    const values = { ...words, loss: (score.loss * 100).toFixed(1), burst: score.burst_ratio?.toFixed(1), jitter: Math.round(score.jitter_ms) };
    if (score.loss >= LOSS_MIN) put("loss", from, to, say(score.burst_ratio > 1.5 ? "lost_bursts" : "lost", values), score.loss > 0.03 ? "bad" : "fair");
    if (score.jitter_ms >= JITTER_MS_MIN) put("jitter", from, to, say("jitter_of", values), "fair");
  }
  for (const event of events) {
    const from = event.start - start;
    if (event.kind === "dropout") {
      const lost = event.value / 1000;
      put("loss", from, from + lost, say("dropout", { seconds: lost.toFixed(1), at: clock(from), side: side(event.leg) }), "bad");
    } else if (event.kind === "one_way") {
      put("loss", from, from + 1, say("one_way", { at: clock(from), side: side(event.leg) }), "bad");
    }
  }
  for (const party of parties) {
    const name = who(party.role);
    for (const [from, to] of party.held) put("hold", from, to, say("held", { who: name, at: clock(from), seconds: Math.round(to - from) }), "fair");
    for (const at of party.keys) put("keys", at, at, say("key", { who: name, at: clock(at) }));
    for (const one of party.captured) {
      const until = say(`until_${one.until.split(" ")[0]}`);
      put("consent", one.from, one.to, say("captured", { who: name, at: clock(one.from), to: clock(one.to) }) + (until.startsWith("until_") ? "" : `; ${until}`), "good");
    }
    for (const [from, to] of party.damaged ?? []) put("damage", from, to, say("damaged", { who: name, at: clock(from), seconds: (to - from).toFixed(1) }), "bad");
    for (const one of party.prompts) put("prompt", one.from, one.to, say("prompt_of", { who: name, at: clock(one.from), name: one.name }));
  }
  for (const one of lanes?.pauses ?? []) put("pause", one.from, one.to, say("paused", { at: clock(one.from), seconds: Math.round(one.to - one.from) }), "fair");
  for (const one of lanes?.waits ?? []) put("joined", one.from, one.to, say("joined", { at: clock(one.from) }));
  for (const one of lanes?.transfers ?? []) {
    const whose = who(parties.find((party) => party.leg === one.left)?.role);
    put("transfer", one.from, one.to, say("transferred", { who: whose, at: clock(one.from), to: clock(one.to) }), "note");
  }
  for (const [from, to] of lanes?.silence ?? []) put("silence", from, to, say("silent", { at: clock(from), seconds: (to - from).toFixed(1) }));
  for (const [from, to] of lanes?.overtalk ?? []) put("overtalk", from, to, say("overtalk_of", { at: clock(from), seconds: (to - from).toFixed(1) }));
  for (const one of comments) put("comment", one.from, one.to, `${one.author}: ${one.text}`, "note");
  return found.sort((a, b) => a.from - b.from || LANES.indexOf(a.lane) - LANES.indexOf(b.lane));
}

// The list leaves out what is as it should be: good intervals are for the lane only.
export const worthTelling = (entry) => !(entry.lane === "mos" && entry.grade === "good");

// Whom the two channels are of: of a party whose channel is gone nothing is left to be heard, and the other moves up.
export function sidesOf(lanes) {
  const roles = lanes?.parties.map((party) => party.role) ?? [];
  return [roles[0] ?? "caller", roles[1] ?? "callee"];
}
