// Who is signed in on this browser. Never a password: SIP's digest needs only a hash of it for this one realm, and that
// is kept for the tab, or on the machine when its user asked for that.
const KEY = "phone.account";
const INSTANCE = "phone.instance";

function stores() {
  return [globalThis.sessionStorage, globalThis.localStorage].filter(Boolean);
}

// { user, realm, ha1, token?, expires? } or null
export function kept() {
  for (const store of stores()) {
    try {
      const account = JSON.parse(store.getItem(KEY));
      if (account && account.user && account.ha1 && account.realm) return account;
    } catch {
      // unreadable: as if there were none
    }
  }
  return null;
}

export function keep(account, staying) {
  forget();
  const text = JSON.stringify({ ...account, staying });
  try {
    (staying ? localStorage : sessionStorage).setItem(KEY, text);
  } catch {
    // storage is switched off: signed in until the page is left
  }
}

export function forget() {
  for (const store of stores()) {
    try {
      store.removeItem(KEY);
    } catch {
      // nothing was kept, then
    }
  }
}

// The same browser registers as the same device each time, so that an earlier visit leaves no second phone ringing.
export function instance() {
  try {
    let id = localStorage.getItem(INSTANCE);
    if (!/^[0-9a-f-]{36}$/.test(id ?? "")) {
      id = crypto.randomUUID();
      localStorage.setItem(INSTANCE, id);
    }
    return id;
  } catch {
    return crypto.randomUUID();
  }
}
