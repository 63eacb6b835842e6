// The phone's texts by key, in the language of the page.
import { speaker } from "../common/i18n.js";
import en from "./words.en.js";
import ru from "./words.ru.js";

export const say = speaker({ en, ru });
export const has = (key) => key in en;
