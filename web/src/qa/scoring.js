// What answers come to, as the server counts them (recording/scorecard.py): shown while one answers.
export const VALUES = { yes: 1, partly: 0.5, no: 0, na: null };

function mean(pairs) {
  const counted = pairs.filter(([, value]) => value !== null && value !== undefined);
  const weight = counted.reduce((sum, [one]) => sum + one, 0);
  return weight ? counted.reduce((sum, [one, value]) => sum + one * value, 0) / weight : null;
}

// { score: 0..100 or null, failed, left: how many questions wait for an answer }
export function judge(sections, answers) {
  const questions = sections.flatMap((section) => section.questions);
  const scores = sections.map((section) => [section.weight, mean(section.questions.map((one) => [one.weight, VALUES[answers[one.id]]]))]);
  const total = mean(scores);
  const failed = questions.some((one) => one.auto_fail && answers[one.id] === "no");
  return { score: total === null ? null : failed ? 0 : Math.round(total * 1000) / 10, failed, left: questions.filter((one) => !(one.id in answers)).length };
}
