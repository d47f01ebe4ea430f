//! Fuzzing with stable Rust: seeded mutations of real inputs, fed to a harness for a while.
pub mod corpus;
mod mutate;

use mutate::Mutator;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long each target runs unless `RTCD_FUZZ_SECONDS` says otherwise.
const DEFAULT_SECONDS: u64 = 10;
/// One input that takes longer than this is a hang.
const HANG: Duration = Duration::from_secs(20);
/// Mutated inputs that are kept to be mutated further.
const POOL: usize = 64;

/// How the bytes of an input are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    Flat,
    /// So many bytes, then steps as `rtcd_media::fuzzing::operations` cuts them.
    Steps(usize),
}

/// Feeds `harness` with the corpus and with mutations of it. `RTCD_FUZZ_REPLAY` holds the hex of the only input to run;
/// `RTCD_FUZZ_SEED` repeats a run.
pub fn run(name: &str, layout: Layout, corpus: &[Vec<u8>], harness: fn(&[u8])) {
    if let Ok(hex) = std::env::var("RTCD_FUZZ_REPLAY") {
        return harness(&unhex(&hex));
    }
    let number = |variable| std::env::var(variable).ok()?.parse::<u64>().ok();
    let seed = number("RTCD_FUZZ_SEED").unwrap_or_else(rand::random);
    let length = Duration::from_secs(number("RTCD_FUZZ_SECONDS").unwrap_or(DEFAULT_SECONDS));
    println!("{name}: seed {seed}");
    let watch = Watch::start(name, seed);
    let started = Instant::now();
    let mut mutator = Mutator::new(seed);
    let mut pool: Vec<Vec<u8>> = Vec::new();
    let mut count = 0u64;
    while count < corpus.len() as u64 || started.elapsed() < length {
        let input = match corpus.get(count as usize) {
            Some(real) => real.clone(),
            None => {
                let parents = if pool.len() < POOL || mutator.one_in(2) { corpus } else { &pool };
                let input = mutator.mutate(layout, parents, corpus);
                if pool.len() < POOL {
                    pool.push(input.clone());
                } else if mutator.one_in(50) {
                    let place = mutator.below(POOL);
                    pool[place].clone_from(&input);
                }
                input
            }
        };
        watch.note(&input);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| harness(&input))) {
            eprintln!("{}", verdict(name, seed, "failed", &input));
            resume_unwind(panic);
        }
        count += 1;
    }
    println!("{name}: {count} inputs in {:.1} s", started.elapsed().as_secs_f32());
    assert!(count > corpus.len() as u64, "not one mutation was tried");
}

fn verdict(name: &str, seed: u64, what: &str, input: &[u8]) -> String {
    let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name} {what}, seed {seed}; again with RTCD_FUZZ_REPLAY={hex} cargo test --workspace {name}")
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.trim().bytes().filter_map(|digit| (digit as char).to_digit(16).map(|n| n as u8)).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Tells of an input that never ends, which no panic would.
struct Watch(Arc<Mutex<(Instant, Vec<u8>)>>);

impl Watch {
    fn start(name: &str, seed: u64) -> Self {
        let current = Arc::new(Mutex::new((Instant::now(), Vec::new())));
        let (watched, name) = (Arc::downgrade(&current), name.to_owned());
        std::thread::spawn(move || {
            while let Some(current) = watched.upgrade() {
                let (since, input) = lock(&current).clone();
                if since.elapsed() > HANG {
                    eprintln!("{}", verdict(&name, seed, "hangs", &input));
                    std::process::abort();
                }
                drop(current);
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        Self(current)
    }

    fn note(&self, input: &[u8]) {
        let mut current = lock(&self.0);
        current.0 = Instant::now();
        current.1.clear();
        current.1.extend_from_slice(input);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_of_a_verdict_can_be_replayed() {
        let line = verdict("x", 7, "failed", &[0, 0xab, 0xff]);
        let hex = line.split("REPLAY=").nth(1).and_then(|rest| rest.split(' ').next()).expect("it is there");
        assert_eq!(unhex(hex), [0, 0xab, 0xff]);
    }
}
