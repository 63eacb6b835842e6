// Unpacks Chromium into TMPDIR and prints where its program lies.
import chromium from "@sparticuz/chromium";

console.log(await chromium.executablePath());
