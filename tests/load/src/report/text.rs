//! The report for people.
use super::Report;
use std::fmt;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.tcp { "TCP" } else { "UDP" };
        writeln!(f, "participants       {} in {} calls, media over {way}", self.participants, self.calls)?;
        writeln!(
            f,
            "delivered          {} packets in {:.0} s, {:.0}/s",
            self.delivered, self.seconds, self.delivered_per_second
        )?;
        for (name, loss, times) in
            [("voice", self.loss.voice, self.latency_ms.voice), ("pictures", self.loss.video, self.latency_ms.video)]
        {
            if loss.expected > 0 {
                writeln!(
                    f,
                    "{name:<18} {:.3} % lost ({} of {}, at {} participants); latency p50 {:.2}, p95 {:.2}, p99 {:.2}, max {:.1} ms",
                    loss.percent,
                    loss.lost,
                    loss.expected,
                    loss.participants,
                    times.p50,
                    times.p95,
                    times.p99,
                    times.max
                )?;
            }
        }
        writeln!(
            f,
            "order              {} reordered, {} repaired, {} copies, {} for somebody else",
            self.reordered, self.repaired, self.duplicates, self.wrong_receiver
        )?;
        writeln!(
            f,
            "join               p50 {:.0}, p99 {:.0} ms to the open data channel",
            self.join_ms.p50, self.join_ms.p99
        )?;
        if self.unanswered_offers > 0 {
            writeln!(f, "offers             {} were not answered in 10 s and made again", self.unanswered_offers)?;
        }
        if self.key_frame_ms.count > 0 {
            writeln!(f, "first picture      p50 {:.0}, p99 {:.0} ms", self.key_frame_ms.p50, self.key_frame_ms.p99)?;
        }
        if let Some(server) = &self.server {
            writeln!(
                f,
                "server             {:.2} us of CPU a delivered packet, {:.0} % of a core, peak memory {:.0} MB",
                server.cpu_us_per_packet,
                server.cpu_percent,
                server.peak_rss_bytes as f64 / 1e6
            )?;
        }
        write!(
            f,
            "this tool          {:.2} us of CPU a delivered packet, busiest of {} threads {:.0} % of a core",
            self.tool.cpu_us_per_packet, self.tool.threads, self.tool.busiest_thread_percent
        )?;
        if let Some(idle) = self.machine.idle_percent {
            write!(f, "\nmachine            {} CPUs, {idle:.0} % idle", self.machine.cpus)?;
        }
        Ok(())
    }
}
