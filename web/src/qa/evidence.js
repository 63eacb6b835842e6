// One notice or answer in plain words: who, for what, and what proves that the notice arrived.
export function evidenceLine(one, moment, say) {
  const words = { who: one.party, purpose: one.purpose, state: say(`consent_${one.state}`), prompt: one.prompt, language: one.language, at: moment(one.at) };
  const said = one.how === "notice" ? say("evidence_notice", words) : say("evidence_answer", { ...words, how: say(`evidence_by_${one.how}`) });
  if (!one.packets) return said;
  const range = { first: one.packets[0], last: one.packets[1] };
  if (one.arrived === null) return `${said} ${say("evidence_unproven", range)}`;
  return `${said} ${say("evidence_arrived", { ...range, reported: one.reported, percent: (one.arrived * 100).toFixed(1) })}`;
}
