//! The status as a page: made here, refreshed by a little script, without anything from elsewhere.
use super::words::{bitrate, bytes, count, duration, milliseconds, share};
use super::{Call, Receives, Sends, Session, Status};
use maud::{DOCTYPE, Markup, html};

/// Nothing from elsewhere, nothing inline, no frames.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                          img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What makes it look.
pub const STYLE: &str = include_str!("style.css");
/// What refreshes it.
pub const SCRIPT: &str = include_str!("script.js");

/// Participants that are shown: the JSON has all of them.
const MAX_SHOWN: usize = 500;

/// The whole page.
pub fn page(status: &Status) -> String {
    let sessions: usize = status.calls.iter().map(|call| call.sessions.len()).sum();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head(html! { "rtcd: " (count(status.calls.len(), "call")) ", " (count(sessions, "participant")) }, true))
            body {
                header {
                    h1 { "rtcd" }
                    p.state data-state=(status.state) { (status.state) }
                    p.build { (status.version) " · up " (duration(status.uptime_s)) " · " a href="/status/log" { "Last lines of the log" } }
                    (refresh())
                }
                main #main {
                    (notices(status))
                    (tiles(status, sessions))
                    (calls(status, sessions))
                    (addresses(status))
                    (clients(status))
                    (drops(status))
                }
                footer {
                    p { "The same as JSON: " code { "curl -H 'Accept: application/json'" } " at this address. For graphs and alerts: " code { "/metrics" } "." }
                }
            }
        }
    };
    page.into_string()
}

/// What browsers are told of a page of the status; whether it is fetched anew by itself.
pub(super) fn head(title: Markup, refreshes: bool) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="robots" content="noindex";
            title { (title) }
            link rel="stylesheet" href="/status/style.css";
            @if refreshes { script src="/status/script.js" defer {} }
        }
    }
}

/// Where the script says how old the page is, and lets it be held.
pub(super) fn refresh() -> Markup {
    html! {
        p.refresh {
            span #fresh role="status" {}
            button #pause type="button" aria-pressed="false" hidden { "Pause" }
        }
    }
}

fn notices(status: &Status) -> Markup {
    html! {
        section.notices aria-labelledby="notices" {
            h2 #notices { "What waits for you" }
            @if status.notices.is_empty() {
                p.well { "Nothing." }
            } @else {
                ul { @for notice in &status.notices {
                    li { strong { (notice.topic) } " " (notice.text) }
                } }
            }
        }
    }
}

fn tiles(status: &Status, sessions: usize) -> Markup {
    let nodes: usize = status.clients.iter().map(|client| client.connections).sum();
    let plural = |number: usize, one: &str| if number == 1 { one.to_owned() } else { format!("{one}s") };
    let tile = |value: String, what: String| html! { div.tile { dt { (what) } dd { (value) } } };
    html! {
        section aria-labelledby="now" {
            h2 #now { "Now" }
            dl.tiles {
                (tile(status.calls.len().to_string(), plural(status.calls.len(), "call")))
                (tile(sessions.to_string(), plural(sessions, "participant")))
                (tile(nodes.to_string(), plural(nodes, "Mattermost node")))
                (tile(bytes(status.memory_bytes), "memory".into()))
                (tile(idle(status), "of the machine is idle".into()))
            }
            div.workers {
                @for worker in &status.workers {
                    div.worker {
                        span { "worker " (worker.number) ", " (count(worker.sessions, "session")) }
                        meter min="0" max="1" high="0.7" optimum="0" value=(format!("{:.3}", worker.cpu)) aria-label={ "load of worker " (worker.number) } {}
                        span.number { (share(worker.cpu)) }
                    }
                }
            }
        }
    }
}

/// `cpu_load` is one over the idle processors.
fn idle(status: &Status) -> String {
    let idle = if status.cpu_load > 0.0 { 1.0 / status.cpu_load } else { 0.0 };
    match status.state {
        // A drain reports a load that sends everybody elsewhere.
        "draining" => "–".to_owned(),
        _ => format!("{:.0} %", (idle / status.cpus.max(1) as f64 * 100.0).clamp(0.0, 100.0)),
    }
}

fn calls(status: &Status, sessions: usize) -> Markup {
    let mut shown = 0;
    html! {
        section aria-labelledby="calls" {
            h2 #calls { "Calls" }
            @if status.calls.is_empty() {
                p.well { "No call at the moment." }
            }
            @for call in &status.calls {
                @if shown < MAX_SHOWN {
                    (self::call(call, &mut shown))
                }
            }
            @if sessions > shown {
                p { "And " (count(sessions - shown, "more participant")) ": the JSON has all of them." }
            }
        }
    }
}

fn call(call: &Call, shown: &mut usize) -> Markup {
    let room = MAX_SHOWN.saturating_sub(*shown);
    *shown += call.sessions.len().min(room);
    html! {
        article.call {
            h3 { (count(call.sessions.len(), "participant")) " " span.id { "call " (call.call_id) " of " (call.group_id) } }
            table {
                thead { tr {
                    th scope="col" { "Session" }
                    th scope="col" { "Way" }
                    th scope="col" { "Round trip" }
                    th scope="col" { "Loss" }
                    th scope="col" { "Sends" }
                    th scope="col" { "Receives" }
                } }
                tbody { @for session in call.sessions.iter().take(room) { (row(session)) } }
            }
        }
    }
}

fn row(session: &Session) -> Markup {
    let lost = session.loss.unwrap_or_default();
    html! {
        tr {
            th scope="row" {
                span.id { (session.session_id) }
                small { "user " span.id { (session.user_id) } ", " (duration(session.joined_s)) }
                @if session.speaking { small.speaking { "speaks" } } @else if session.muted { small { "muted" } }
                @if session.refused_messages > 0 {
                    small.bad { (count(session.refused_messages as usize, "message")) " refused" }
                }
            }
            td data-label="Way" { (way(session)) }
            td data-label="Round trip" {
                (session.round_trip_ms.map_or("–".to_owned(), milliseconds))
                @if let Some(jitter) = session.jitter_ms { small { "jitter " (milliseconds(jitter)) } }
            }
            td data-label="Loss" .bad[lost >= 0.05] { (session.loss.map_or("–".to_owned(), share)) }
            td data-label="Sends" { @if session.sends.is_empty() { "–" } @for track in &session.sends { (sends(track)) } }
            td data-label="Receives" { (receives(session)) }
        }
    }
}

fn way(session: &Session) -> Markup {
    let protocol = session.protocol.map(|protocol| match protocol {
        "udp" => "UDP",
        "tcp" => "TCP",
        _ => "relay",
    });
    html! {
        @match session.stage {
            "awaits_offer" => { "has not offered yet" }
            "awaits_check" => { span.bad { "nothing of it has come: is a firewall in between?" } }
            stage => {
                (protocol.unwrap_or("–"))
                @if let Some(family) = session.family { " over " (if family == "ipv6" { "IPv6" } else { "IPv4" }) }
                @if stage == "connecting" { small { "connecting" } }
                @if let Some(worker) = session.worker { small { "worker " (worker) } }
            }
        }
    }
}

fn sends(track: &Sends) -> Markup {
    let codec = track.codec.rsplit('/').next().unwrap_or(track.codec);
    html! {
        div {
            (kind(track.kind)) " "
            @if let Some(rate) = track.bitrate_bps { (bitrate(rate)) }
            small {
                (codec)
                @if track.layer > 0 { ", layer " (track.layer) }
                @if track.loss >= 0.001 { ", " (share(track.loss)) " lost" }
            }
        }
    }
}

/// Voices are many and alike: their number. Pictures one by one.
fn receives(session: &Session) -> Markup {
    let is_sound = |track: &&Receives| matches!(track.kind, "voice" | "screen-audio");
    let voices = session.receives.iter().filter(is_sound).count();
    html! {
        @if session.receives.is_empty() { "–" }
        @if voices > 0 { div { (count(voices, "voice")) } }
        @for track in session.receives.iter().filter(|track| !is_sound(track)) {
            div {
                (kind(track.kind)) " of " span.id { (track.from) } " "
                @if track.paused { span.bad { "no room" } }
                @else {
                    @if let Some(rate) = track.bitrate_bps { (bitrate(rate)) }
                    @if let Some(layer) = track.layer { small { "layer " (layer) } }
                }
            }
        }
        @if let Some(estimate) = session.estimate_bps { small { "its way carries " (bitrate(estimate)) } }
    }
}

fn kind(kind: &str) -> &'static str {
    match kind {
        "voice" => "voice",
        "screen" => "screen",
        "screen-audio" => "sound of the screen",
        _ => "camera",
    }
}

fn addresses(status: &Status) -> Markup {
    html! {
        section aria-labelledby="addresses" {
            h2 #addresses { "What participants are told" }
            @if status.advertised.is_empty() {
                p.bad { "No address: nobody can join a call." }
            } @else {
                table {
                    thead { tr { th scope="col" { "Address" } th scope="col" { "Over" } th scope="col" { "From where it is known" } } }
                    tbody { @for told in &status.advertised { tr {
                        th scope="row" { span.id { (told.address) } }
                        td data-label="Over" { (match told.protocol { "udp" => "UDP", "tcp" => "TCP", _ => "a relay" }) }
                        td data-label="From where it is known" { (told.origin) }
                    } } }
                }
            }
        }
    }
}

fn clients(status: &Status) -> Markup {
    html! {
        section aria-labelledby="clients" {
            h2 #clients { "Clients" }
            @if status.clients.is_empty() {
                p { "None is registered." }
            } @else {
                table {
                    thead { tr { th scope="col" { "Client" } th scope="col" { "Nodes connected" } th scope="col" { "Participants" } } }
                    tbody { @for client in &status.clients { tr {
                        th scope="row" { span.id { (client.client_id) } }
                        td data-label="Nodes connected" { (client.connections) }
                        td data-label="Participants" { (client.sessions) }
                    } } }
                }
            }
        }
    }
}

fn drops(status: &Status) -> Markup {
    html! {
        @if !status.drops.is_empty() {
            section aria-labelledby="drops" {
                h2 #drops { "Packets dropped so far" }
                table {
                    thead { tr { th scope="col" { "Why" } th scope="col" { "Packets" } } }
                    tbody { @for drops in &status.drops { tr {
                        th scope="row" { (drops.reason) }
                        td data-label="Packets" { (drops.packets) }
                    } } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Look, gather};
    use super::*;

    #[test]
    fn whatever_a_client_has_written_stays_text() {
        let mut status = gather(Look::default());
        let evil = "<script src=//evil></script>\"'&";
        status.clients.push(super::super::Client { client_id: evil.into(), connections: 1, sessions: 1 });
        status.calls.push(Call { group_id: evil.into(), call_id: evil.into(), sessions: Vec::new() });
        let page = page(&status);
        assert!(!page.contains("<script src=//evil"), "{page}");
        assert_eq!(page.matches("&lt;script src=//evil&gt;").count(), 3);
    }
}
