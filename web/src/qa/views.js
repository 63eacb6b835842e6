// The views beside the calls: the right each needs, what it asks for first, how it is drawn, and what its tab counts.
import { calibrationView, loadCalibrations, toCalibrate } from "./view-calibration.js";
import { loadMine, mineView, unanswered } from "./view-mine.js";
import { liveView, loadLog, logView } from "./view-more.js";
import { loadReports, reportsView } from "./view-reports.js";
import { assignedView, loadAssigned, loadSampling, samplingView, waiting } from "./view-sampling.js";

export const VIEWS = {
  mine: { right: "own", load: loadMine, draw: mineView, count: unanswered },
  assigned: { right: "comment", load: loadAssigned, draw: assignedView, count: waiting },
  calibration: { right: "comment", load: loadCalibrations, draw: calibrationView, count: toCalibrate },
  reports: { right: "report", load: loadReports, draw: reportsView },
  sampling: { right: "sample", load: loadSampling, draw: samplingView },
  live: { right: "live", load: (app) => app.refreshLive(), draw: liveView },
  log: { right: "log", load: (app) => loadLog(app), draw: logView },
};
