//! What forwarding costs: one publisher, a hundred receivers on loopback. Prints microseconds of the daemon's CPU per
//! forwarded packet beside the raw floor, measured in the same run: seal the same bytes with AES-GCM and send them.
//!
//!     cargo forwarding [RECEIVERS [SECONDS]]
use anyhow::{Context as _, Result};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rtcd::plane::socket::{Datagram, SEND_BATCH, SEND_SIZE, SendScratch, UdpSocket};
use rtcd_load::process;
use rtcd_tests::daemon::{Daemon, DaemonConfig, build_daemon};
use rtcd_tests::mattermost::Mattermost;
use rtcd_tests::peer::{Peer, PeerConfig};
use rtcd_tests::plugin::Plugin;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// A picture of a screen share of 2.5 Mbit/s: nine packets, thirty times a second.
const PACKETS_PER_PICTURE: usize = 9;
const PICTURES_PER_SECOND: u64 = 30;
const PAYLOAD: usize = 1150;
/// So long after the first picture all receivers' estimates have been found: what is sent to find them is not what a picture
/// costs.
const SETTLING: Duration = Duration::from_secs(6);

#[tokio::main]
async fn main() -> Result<()> {
    let mut args =
        std::env::args().skip(1).map(|arg| arg.parse::<usize>().context("RECEIVERS and SECONDS are numbers"));
    let receivers = args.next().transpose()?.unwrap_or(100);
    let seconds = args.next().transpose()?.unwrap_or(10);

    build_daemon()?;
    let daemon = Daemon::start(DaemonConfig::new().env("RTCD_LOGGER_CONSOLELEVEL", "INFO"));
    let node = Mattermost::connect(&Plugin::new(daemon.api_addr(), "benchmark")).await?;
    let media: SocketAddr = (Ipv4Addr::LOCALHOST, daemon.media_port()).into();
    let publisher = Peer::join(&node, PeerConfig::new("call", "publisher"), media).await?;
    let mut audience = Vec::new();
    for at in 0..receivers {
        audience.push(Peer::join(&node, PeerConfig::new("call", &format!("receiver-{at}")), media).await?);
    }
    publisher.share_screen(&[]);
    let picture: Vec<u8> = [0x10].into_iter().chain((1..PAYLOAD * PACKETS_PER_PICTURE).map(|at| at as u8)).collect();
    let streaming = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / PICTURES_PER_SECOND));
        loop {
            ticks.tick().await;
            publisher.frame("screen", &picture);
        }
    });
    for peer in &audience {
        peer.wait_track("screen", "publisher").await?;
    }

    let (first, settling) = measure(&daemon, SETTLING).await?;
    let (ours, lasting) = measure(&daemon, Duration::from_secs(seconds as u64)).await?;
    let frames = |peer: &Peer| peer.track("screen", "publisher").map_or((0, 0), |track| (track.frames, track.gaps));
    let gaps: u64 = audience.iter().map(|peer| frames(peer).1).sum();
    streaming.abort();
    drop(audience);

    let single = floor(receivers, 1)?;
    let grouped = floor(receivers, PACKETS_PER_PICTURE)?;
    println!("receivers                        {receivers}");
    println!("pictures with gaps               {gaps}");
    println!("while estimates are found        {settling}, {first:.2} us of CPU a forwarded packet");
    println!("packets                          {lasting}");
    println!("daemon                           {ours:.2} us of CPU a forwarded packet");
    println!("floor, one by one (sendmmsg)     {single:.2} us, ratio {:.2}", ours / single);
    println!("floor, nine at a time (GSO)      {grouped:.2} us, ratio {:.2}", ours / grouped);
    Ok(())
}

/// What the daemon does for a while: microseconds of CPU for each packet that it forwards, and how many of which kind it sends.
async fn measure(daemon: &Daemon, lasting: Duration) -> Result<(f64, String)> {
    let kinds = ["forwarded", "retransmitted", "repeated", "padding"];
    let counted = || kinds.map(|kind| daemon.metric(&format!("rtcd_plane_{kind}_total")));
    let (before, cpu, begun) = (counted(), process::cpu(daemon.pid())?, Instant::now());
    tokio::time::sleep(lasting).await;
    let (after, cpu, lasted) = (counted(), process::cpu(daemon.pid())? - cpu, begun.elapsed());
    let counts =
        kinds.iter().zip(after).zip(before).map(|((kind, after), before)| format!("{} {kind}", after - before));
    let text = format!("{} in {:.1} s", counts.collect::<Vec<_>>().join(", "), lasted.as_secs_f64());
    Ok((cpu.as_secs_f64() * 1e6 / (after[0] - before[0]), text))
}

/// Microseconds of CPU to seal one packet and to send it, `group` packets in a row to each receiver.
fn floor(receivers: usize, group: usize) -> Result<f64> {
    let sinks: Vec<_> = (0..receivers).map(|_| std::net::UdpSocket::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let targets: Vec<SocketAddr> = sinks.iter().map(std::net::UdpSocket::local_addr).collect::<Result<_, _>>()?;
    let (mut socket, _) = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    let mut scratch = SendScratch::new();
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).ok().context("a key")?);
    let mut slots = vec![[0u8; SEND_SIZE]; SEND_BATCH];
    let len = 12 + 8 + PAYLOAD;
    let mut nonce = 0u64;
    let mut packets = 0u64;
    let begun = thread_cpu()?;
    while thread_cpu()? - begun < 1.0 {
        let mut at = 0;
        for _ in 0..targets.len() * group {
            nonce += 1;
            let mut bytes = [0; 12];
            bytes[4..].copy_from_slice(&nonce.to_be_bytes());
            let (header, payload) = slots[at][..len].split_at_mut(12);
            let sealed =
                key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(bytes), Aad::from(&*header), payload);
            let tag = sealed.ok().context("sealed")?;
            slots[at][len..len + 16].copy_from_slice(tag.as_ref());
            at += 1;
            packets += 1;
            if at == SEND_BATCH / group * group {
                send(&mut socket, &slots[..at], len + 16, packets as usize, &targets, group, &mut scratch);
                at = 0;
            }
        }
        send(&mut socket, &slots[..at], len + 16, packets as usize, &targets, group, &mut scratch);
    }
    Ok((thread_cpu()? - begun) * 1e6 / packets as f64)
}

/// Sends the slots that were filled last: `group` in a row to each target.
fn send(
    socket: &mut UdpSocket,
    slots: &[[u8; SEND_SIZE]],
    len: usize,
    end: usize,
    targets: &[SocketAddr],
    group: usize,
    scratch: &mut SendScratch,
) {
    let first = end - slots.len();
    let datagram = |(at, slot)| -> Datagram<'_> {
        let slot: &[u8; SEND_SIZE] = slot;
        Datagram { to: targets[(first + at) / group % targets.len()], bytes: &slot[..len] }
    };
    let datagrams: Vec<Datagram<'_>> = slots.iter().enumerate().map(datagram).collect();
    socket.send(&datagrams, scratch);
}

fn thread_cpu() -> Result<f64> {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}
