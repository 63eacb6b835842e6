// English texts of the phone. words.ru.js has the same keys: a test compares them.
export default {
  mute_short: "Mute", unmute_short: "Unmute", nav: "Parts of the phone",
  title: "Phone", title_calling: "{who} is calling", title_talking: "{time} · {who}",
  // signing in
  sign_in: "Sign in", sign_in_title: "Your phone, in this browser",
  sign_in_lead: "Nothing to install. Sign in with the user and password of your extension and call anyone on this server.",
  user: "User", user_hint: "Your extension or name, such as 100", password: "Password",
  password_hint: "New here? The demo users' passwords are in var/first-call.txt on the server.",
  stay: "Stay signed in on this device", signing_in: "Signing in…", sign_out: "Sign out", show: "Show", hide: "Hide",
  show_password: "Show the password",
  wrong_password: "User or password is wrong. Check both; the user is your extension, not an e-mail address.",
  slow_down: "Too many attempts or the server is busy. Wait a minute and try again.",
  registration_failed: "The server refused the sign-in ({status} {cause}). Ask whoever runs it to look at its log.",
  unreachable: "The server does not answer. Check your network; trying again by itself…",
  // the line
  line_ready: "Ready", line_connecting: "Connecting…", line_lost: "No connection: trying again", line_out: "Signed out", line_refused: "Refused",
  line_ready_long: "You can be called as {user}",
  // keypad
  keypad: "Keypad", number_label: "Number or name", number_hint: "600, ann or +44 …", call: "Call", video_call: "Video call", erase: "Erase the last character",
  bad_number: "“{number}” cannot be called: use a number, a name, or name@server.",
  try_title: "Try a call", try_600: "Hear yourself", try_601: "Welcome message", try_602: "Leave a message, hear it back", try_700: "Conference room",
  // history
  history: "Calls", history_empty: "No calls yet", history_empty_lead: "Calls made and taken in this browser appear here.", clear: "Clear the list",
  way_out: "Outgoing", way_in: "Incoming", way_missed: "Missed", call_again: "Call {who}", no_answer_given: "not answered",
  // a call
  calling: "Calling…", ringing: "Ringing…", incoming: "Incoming call", talking: "In call", on_hold: "On hold", ended: "Call ended", calls: "Your calls",
  connecting: "Connecting…", held_by_other: "The other side has put you on hold", answer: "Answer", answer_video: "Answer with video", reject: "Reject",
  silence: "Silence the ringing", hang_up: "Hang up", cancel: "Cancel", mute: "Mute", unmute: "Unmute", muted_note: "Your microphone is off", hold: "Hold", resume: "Resume",
  camera_on: "Start video", camera_off: "Stop video", screen_on: "Share screen", screen_off: "Stop sharing the screen", transfer: "Transfer", chat: "Chat", quality: "Quality", people: "People",
  video: "Video", screen: "Screen", controls: "Call controls", close: "Close", switch_to: "Switch to {who}", you: "You", your_screen: "You are sharing your screen",
  answer_hold: "Answer, hold the current call", picture_of: "Video of {who}", screen_of: "Screen of {who}", no_picture: "no video", speaking: "speaking", is_muted: "muted",
  people_count: "{count} person|{count} people|{count} people", room: "Room {room}", room_alone: "You are the first here. Others join by dialling {room}.",
  // transfer
  mute_other: "Mute {who} for everyone", let_speak: "Let {who} speak", kick: "Remove {who} from the room",
  transfer_to: "Transfer to", transfer_now: "Transfer now", transfer_lead: "The other side is connected to this number, and your part ends.",
  transfer_trying: "Transferring…", transfer_ringing: "The new number is ringing…", transfer_done: "Transferred", transfer_failed: "The transfer did not work: nobody answered there, or the number is wrong. You are still connected.",
  transfer_ask: "Connect with {who}", transfer_ask_lead: "Joins the two callers and leaves you out.",
  // chat
  chat_empty: "No messages yet", chat_empty_lead: "Everyone in this call or room can read what you write.", chat_field: "Message", chat_send: "Send", chat_off: "Chat is not available: the server sends no news to this page.",
  chat_new: "{count} new message|{count} new messages|{count} new messages",
  // quality
  you_hear: "You hear", they_hear: "They hear", mos_scale: "MOS, 1 bad to 4.5 excellent", mos_full: "MOS, 1 bad to 5 excellent", estimated: "Estimated by this browser", measured: "Measured by the server", unknown: "not yet known",
  grade_good: "Good", grade_fair: "Fair", grade_bad: "Poor", grade_none: "Measuring…", packets_lost_in: "Lost on the way to you", packets_lost_out: "Lost on the way there",
  jitter: "Jitter", round_trip: "Round trip", buffer: "Buffered", rate: "Network use", codec: "Sound", picture: "Picture", route: "Path", route_udp: "direct, UDP", route_tcp: "TCP: worse when packets are lost", route_relay: "by a relay (TURN)",
  quality_all_good: "Nothing to complain about: sound arrives whole, both ways.",
  ms: "{n} ms", percent: "{n} %", kbit: "{n} kbit/s",
  warn_loss_out: "Your network loses packets: the other side hears gaps.", fix_loss_out: "Move closer to the Wi-Fi, use a cable, or stop large uploads.",
  warn_loss_in: "Packets are lost on the way to you: you hear gaps.", fix_loss_in: "If others on this network stream or download, pause that.",
  warn_jitter: "Your network delivers unevenly: sound may stutter.", fix_jitter: "A cable instead of Wi-Fi helps most.",
  warn_delay: "Sound takes long: you may talk over each other.", fix_delay: "A VPN or a far-away network adds delay; leave it if you can.",
  warn_nothing_arrives: "No sound arrives from the server.", fix_nothing_arrives: "A firewall may block UDP. Try another network, or ask for a TURN server.",
  warn_mic_silent: "Your microphone is silent: nobody can hear you.", fix_mic_silent: "It may be muted on the headset or the wrong one is chosen: see Settings.",
  warn_silence: "Nothing is heard from you.", fix_silence: "Check the microphone in Settings.",
  warn_loss: "Packets are lost: there are gaps in the sound.", fix_loss: "Move closer to the Wi-Fi or use a cable.",
  net_lost: "The network has changed or is gone. The call is kept; finding the way back…", net_restoring: "Reconnecting the call…",
  // recording
  rec_asking: "This call is to be recorded", rec_asking_lead: "Nothing is recorded before you agree. You can refuse and go on talking.", rec_agree: "I agree", rec_refuse: "I refuse",
  rec_notice: "A recording notice is being played", rec_notice_lead: "Recording begins after it, as its words say.", rec_recording: "Recording", rec_recording_lead: "This call is being recorded.",
  rec_paused: "Recording paused", rec_refused: "You refused: you are not recorded.", rec_agreed: "You agreed to the recording.", rec_withdraw: "Stop recording me",
  // settings
  settings: "Settings", sound: "Sound", microphone: "Microphone", speaker: "Speaker", camera: "Camera", default_device: "The system's choice", device_n: "Device {n}",
  mic_level: "Microphone level", speaker_level: "Level of the other side", test_mic: "Test the microphone", stop_test: "Stop the test", test_speaker: "Play a sound", test_camera: "Try the camera", stop_camera: "Stop the camera", mic_test_hint: "Speak: the bar should move.",
  camera_preview: "What your camera sees", clean_up: "Remove noise and echo", clean_up_hint: "Switch off for music or a very good headset.", ring: "Ring for incoming calls", key_sounds: "Sounds of the keys",
  notify: "Tell me about calls when this page is in the background", notify_on: "Calls are announced even when this page is in the background.", notify_denied: "Your browser does not allow it: permit notifications for this address beside the address bar.", notify_ask: "Allow notifications",
  look: "Appearance", theme: "Colours", theme_auto: "As the system", theme_light: "Light", theme_dark: "Dark", shortcuts: "Keyboard shortcuts in a call", shortcuts_hint: "M mutes, H holds, V video, digits press keys; Alt+Enter answers. Never while you write.",
  account: "Account", signed_in_as: "Signed in as", account_kept: "kept on this device", account_tab: "until this tab is closed",
  // problems with devices
  mic_denied: "The browser may not use your microphone.", fix_mic_denied: "Click the lock or camera sign beside the address, allow the microphone, then call again.",
  mic_missing: "No microphone was found.", fix_mic_missing: "Plug one in, or choose another one in Settings.", mic_busy: "The microphone is used by another program.", fix_mic_busy: "Close the other program, then call again.",
  cam_denied: "The browser may not use your camera.", fix_cam_denied: "Click the lock or camera sign beside the address and allow the camera.", cam_missing: "No camera was found.", fix_cam_missing: "Plug one in, or choose another one in Settings.",
  cam_busy: "The camera is used by another program.", fix_cam_busy: "Close the other program and start the video again.", screen_missing: "This browser cannot share the screen.", fix_screen_missing: "Use a browser on a computer: phones do not allow it.",
  video_refused: "This call takes no video.", fix_video_refused: "The other side or this number has sound only.",
  change_refused: "The other side did not take this change.", fix_change_refused: "The call goes on as before; try again in a moment.",
  screen_refused: "The screen cannot be shown in this call.", fix_screen_refused: "Meet in a room, 700 to 799: everybody there can show a screen.",
  insecure: "The browser gives no microphone to this address.", fix_insecure: "Open the page by https://.", sound_blocked: "The browser blocks sound until you click.", fix_sound_blocked: "Click here to hear the call.", hear: "Hear the call",
  // why a call ended
  cause_Busy: "The line is busy.", cause_Rejected: "The call was declined.", cause_Unavailable: "Nobody is signed in there, or nobody answers.", "cause_Not Found": "There is no such number.", cause_Redirected: "The number has moved.",
  "cause_Address Incomplete": "The number is incomplete.", "cause_No Answer": "Nobody answered.", "cause_Request Timeout": "The server did not answer.", "cause_Connection Error": "The connection to the server was lost.", "cause_RTP Timeout": "The sound connection was lost and could not be restored.",
  "cause_Authentication Error": "The server did not accept this call.", "cause_Bad Media Description": "Both sides have no sound format in common.", "cause_Incompatible SDP": "Both sides have no sound format in common.", "cause_SIP Failure Code": "The server could not place the call. Try again in a moment.",
  "cause_Internal Error": "Something failed in this page. Reload it and try again.", "cause_WebRTC Error": "The browser could not set up the sound. Reload the page and try again.", cause_Canceled: "The caller gave up.", cause_Terminated: "", cause_device: "", cause_other: "The call ended: {cause}.", "cause_User Denied Media Access": "The browser may not use your microphone.",

};
