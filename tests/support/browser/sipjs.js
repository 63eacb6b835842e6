// A phone made of SIP.js as it comes, beside the one of JsSIP: registers, calls, answers; hears with its eyes shut.
import { Inviter, Registerer, SessionState, UserAgent } from "sip.js";

const OPTIONS = {
  sessionDescriptionHandlerOptions: {
    constraints: { audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false }, video: false },
  },
};

export function makeSipJsPhone() {
  const events = [];
  let agent, session;

  function follow(made) {
    session = made;
    session.stateChange.addListener((state) => {
      if (state === SessionState.Established) peer().addEventListener("connectionstatechange", connection);
      events.push(state.toLowerCase());
      if (state === SessionState.Established) connection();
    });
  }

  const peer = () => session.sessionDescriptionHandler.peerConnection;

  function connection() {
    events.push(`peer ${peer().connectionState}`);
    const element = new Audio(); // what nobody plays, Chromium does not decode
    element.srcObject = session.sessionDescriptionHandler.remoteMediaStream;
    element.play();
  }

  return {
    events: () => events,
    async register(server, uri, user, password) {
      agent = new UserAgent({
        uri: UserAgent.makeURI(uri),
        transportOptions: { server },
        authorizationUsername: user,
        authorizationPassword: password,
        logLevel: "error",
        sessionDescriptionHandlerFactoryOptions: { peerConnectionConfiguration: { iceServers: [] } },
        delegate: {
          onInvite(invitation) {
            follow(invitation);
            events.push(`incoming ${invitation.remoteIdentity.uri.user}`);
            invitation.accept(OPTIONS);
          },
        },
      });
      await agent.start();
      const registerer = new Registerer(agent);
      registerer.stateChange.addListener((state) => events.push(state.toLowerCase()));
      await registerer.register();
    },
    async call(target) {
      follow(new Inviter(agent, UserAgent.makeURI(target), OPTIONS));
      await session.invite();
    },
    async hangUp() {
      await session.bye();
    },
    async decoded() {
      let found = { packetsReceived: 0, totalAudioEnergy: 0 }; // there is none before the first packet
      (await peer().getStats()).forEach((entry) => {
        if (entry.type === "inbound-rtp" && entry.kind === "audio") found = entry;
      });
      return found;
    },
  };
}
