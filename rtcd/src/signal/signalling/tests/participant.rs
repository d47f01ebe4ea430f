//! What participants do: they join, offer, answer, and hear on their data channels.
use super::super::*;
use super::world::World;
use crate::signal::data_channel::{self, PeerMessage};
use crate::signal::message::{Join, RtcMessage, RtcType};
use crate::signal::negotiation::fixtures::{FIRST, answer_to, with_transport};
use crate::signal::reading::DescriptionJson;
use rtcd_media::sfu::command::Command;
use rtcd_media::srtp::Profile;
use rtcd_media::transport::TransportEvent;

pub(super) fn join(session: &str) -> Join {
    Join {
        call: "call".into(),
        user: "user".into(),
        session: session.into(),
        channel_id: String::new(),
        av1_support: false,
        dc_signaling: true,
    }
}

/// What a participant has heard on its data channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Heard {
    Pong,
    Description { kind: String, sdp: String },
    Lock(bool),
    MediaMap(Vec<u8>),
}

impl World {
    pub(super) fn join(&mut self, session: &str) {
        self.say("ws", ClientMessage::Join(join(session)));
    }

    pub(super) fn leave(&mut self, session: &str) {
        self.say("ws", ClientMessage::Leave { session: session.into() });
    }

    pub(super) fn rtc(&mut self, session: &str, kind: RtcType, data: &str) {
        let message = RtcMessage {
            group: "mattermost".into(),
            call: "call".into(),
            user: "user".into(),
            session: session.into(),
            kind,
            data: data.into(),
        };
        self.say("ws", ClientMessage::Rtc(message));
    }

    pub(super) fn screen_on(&mut self, session: &str, stream: &str) {
        self.rtc(session, RtcType::ScreenOn, &format!(r#"{{"screenStreamID":"{stream}"}}"#));
    }

    pub(super) fn video_on(&mut self, session: &str, stream: &str) {
        self.rtc(session, RtcType::VideoOn, &format!(r#"{{"videoStreamID":"{stream}"}}"#));
    }

    /// A participant sends in these sections from now on, and offers them over the WebSocket.
    pub(super) fn offer(&mut self, session: &str, own: &str) {
        let id = self.id(session);
        self.own.insert(id, own.into());
        let sdp = with_transport(&format!("{FIRST}{own}"), "actpass");
        self.describe(session, "offer", &sdp);
    }

    /// A participant says a description over the WebSocket.
    pub(super) fn describe(&mut self, session: &str, kind: &str, sdp: &str) {
        self.rtc(session, RtcType::Sdp, &json(kind, sdp));
    }

    /// A participant joins, offers these sections, and its transport comes up on a worker. What was offered to it is
    /// answered.
    pub(super) fn arrive(&mut self, join: Join, worker: u8, own: &str) {
        let session = join.session.clone();
        self.say("ws", ClientMessage::Join(join));
        self.offer(session.as_str(), own);
        self.claim(session.as_str(), worker);
        self.event(session.as_str(), TransportEvent::Connected { profile: Profile::AeadAes128Gcm });
        self.event(session.as_str(), TransportEvent::ChannelOpen);
        self.answer(session.as_str());
    }

    /// A participant says something on its data channel.
    pub(super) fn channel(&mut self, session: &str, data: &[u8]) {
        self.event(session, TransportEvent::Message { text: false, data: data.into() });
    }

    pub(super) fn lock(&mut self, session: &str) {
        self.channel(session, &[7]);
    }

    pub(super) fn unlock(&mut self, session: &str) {
        self.channel(session, &[8]);
    }

    /// What a participant has heard on its data channel since this was last asked.
    pub(super) fn heard(&mut self, session: &str) -> Vec<Heard> {
        let id = self.id(session);
        let mut heard = Vec::new();
        self.commands.retain(|(_, command)| match command {
            Command::Send { transport, data, .. } if *transport == id => {
                heard.push(read_channel(data));
                false
            }
            _ => true,
        });
        heard
    }

    /// The offers among them.
    pub(super) fn offers_to(&mut self, session: &str) -> Vec<String> {
        let offer = |heard| match heard {
            Heard::Description { kind, sdp } if kind == "offer" => Some(sdp),
            _ => None,
        };
        self.heard(session).into_iter().filter_map(offer).collect()
    }

    /// A participant answers the offers that it has heard, until there is none; the last of them.
    pub(super) fn answer(&mut self, session: &str) -> Option<String> {
        let mut last = None;
        while let Some(offer) = self.offers_to(session).pop() {
            let own = self.own.get(&self.id(session)).cloned().unwrap_or_default();
            let answer = answer_to(&offer, &own);
            self.channel(session, &data_channel::sdp(json("answer", &answer).as_bytes()));
            last = Some(offer);
        }
        last
    }
}

/// A description as it travels.
pub(super) fn json(kind: &str, sdp: &str) -> String {
    serde_json::to_string(&DescriptionJson { kind: kind.into(), sdp: sdp.into() }).expect("it is JSON")
}

fn read_channel(data: &[u8]) -> Heard {
    match data {
        [2] => Heard::Pong,
        [7, granted] => Heard::Lock(*granted == 0xc3),
        [9, ..] => Heard::MediaMap(data.into()),
        _ => {
            let Ok(PeerMessage::Sdp(compressed)) = PeerMessage::decode(data) else { panic!("no message of ours") };
            let json = data_channel::inflate(&compressed).expect("it is zlib");
            let DescriptionJson { kind, sdp } = serde_json::from_slice(&json).expect("it is JSON");
            Heard::Description { kind: kind.into_owned(), sdp: sdp.into_owned() }
        }
    }
}

/// Sections of a description.
pub(super) fn section_count(sdp: &str) -> usize {
    sdp.matches("\r\nm=").count()
}
