//! One test, many seeds: whatever fails can be run again alone.

/// Says how to run a seed again if its test panics.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {0} failed; SEED={0} runs it alone", self.0);
        }
    }
}

/// Runs `test` with the seeds from 0 below `count`, or with the one that the environment names as `SEED`.
pub fn for_seeds(count: u64, mut test: impl FnMut(u64)) {
    let only = std::env::var("SEED").ok().map(|seed| seed.parse::<u64>().expect("SEED is a number"));
    let seeds = only.map_or(0..count, |seed| seed..seed + 1);
    for seed in seeds {
        let _replay = Replay(seed);
        test(seed);
    }
}
