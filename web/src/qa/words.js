// What the page says, in the language chosen.
import { speaker } from "../common/i18n.js";
import { en } from "./words.en.js";
import { ru } from "./words.ru.js";

export const say = speaker({ en, ru });
