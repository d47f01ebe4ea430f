//! The mutator: bit flips, cuts, repeats, splices, changed lengths; of flat bytes or of single steps.
use super::Layout;
use rtcd_media::fuzzing::{join, operations};

/// Longest input that is made.
const MAX_LEN: usize = 64 * 1024;
/// Values at which arithmetic breaks.
const EDGES: [u32; 12] = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
/// Pieces of text that mean something somewhere.
const WORDS: [&[u8]; 16] = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b":",
    b"/",
    b"0",
    b"-1",
    b"65536",
    b"4294967296",
    b"a=mid:",
    b"m=audio 9 ",
    b"a=inactive",
    b"a=rid:l send",
    b"\xff\xfe",
    b"a=setup:passive",
];

/// A generator of inputs; the same seed gives the same inputs.
pub(super) struct Mutator(u64);

impl Mutator {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    fn pick<'a>(&mut self, from: &'a [Vec<u8>]) -> &'a [u8] {
        let at = self.below(from.len());
        from.get(at).map_or(&[], Vec::as_slice)
    }

    /// A child of one of `parents`, with parts of `corpus`.
    pub(super) fn mutate(&mut self, layout: Layout, parents: &[Vec<u8>], corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.pick(parents).to_vec();
        match layout {
            Layout::Steps(prefix) if !self.one_in(4) => {
                let other = self.pick(corpus).to_vec();
                let prefix = prefix.min(input.len());
                let mut head = input[..prefix].to_vec();
                if self.one_in(8) {
                    head.iter_mut().for_each(|byte| *byte = self.next() as u8);
                }
                let mut steps = own(&input[prefix..]);
                let others = own(other.get(prefix..).unwrap_or_default());
                self.steps(&mut steps, &others);
                head.extend(join(steps.iter().map(|(what, bytes)| (*what, bytes.as_slice()))));
                input = head;
            }
            _ => {
                let other = self.pick(corpus).to_vec();
                self.bytes(&mut input, &other);
            }
        }
        input.truncate(MAX_LEN);
        input
    }

    fn steps(&mut self, steps: &mut Vec<(u8, Vec<u8>)>, others: &[(u8, Vec<u8>)]) {
        for _ in 0..=self.below(4) {
            let (place, other) = (self.below(steps.len()), self.below(others.len()));
            let other = others.get(other);
            match self.below(6) {
                0 => steps.extend(other.cloned()),
                1 if !steps.is_empty() => drop(steps.remove(place)),
                2 if steps.len() < 512 => {
                    let again = steps.get(place).cloned();
                    let times = if self.one_in(8) { 64 } else { 1 };
                    again.into_iter().for_each(|step| steps.extend(std::iter::repeat_n(step, times)));
                }
                3 => {
                    if let Some(step) = steps.get_mut(place) {
                        step.0 = self.next() as u8;
                    }
                }
                _ => {
                    let other = other.map(|(_, bytes)| bytes.clone()).unwrap_or_default();
                    if let Some(step) = steps.get_mut(place) {
                        self.bytes(&mut step.1, &other);
                    }
                }
            }
        }
    }

    fn bytes(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(6) {
            let at = self.below(bytes.len());
            let len = 1 + self.below(bytes.len().saturating_sub(at).min(64));
            let end = (at + len).min(bytes.len());
            match self.below(11) {
                0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                2 if !bytes.is_empty() => bytes[at] = self.next() as u8,
                3 => bytes.truncate(at),
                4 => drop(bytes.drain(at..end)),
                5 => {
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                6 => {
                    let from = self.below(other.len());
                    let to = (from + 1 + self.below(256)).min(other.len());
                    bytes.splice(at..end, other[from..to].iter().copied());
                }
                7 => {
                    let edge = EDGES[self.below(EDGES.len())].to_be_bytes();
                    let width = 1 << self.below(3);
                    write(bytes, at, &edge[4 - width..]);
                }
                8 => self.nudge(bytes, at),
                9 => {
                    let word = WORDS[self.below(WORDS.len())];
                    bytes.splice(at..at, word.iter().copied());
                }
                _ => {
                    let random: Vec<u8> = (0..self.below(24)).map(|_| self.next() as u8).collect();
                    bytes.splice(at..at, random);
                }
            }
        }
    }

    /// A 16-bit field, perhaps a length, becomes a little larger or smaller.
    fn nudge(&mut self, bytes: &mut [u8], at: usize) {
        let at = at & !1;
        let by = (self.below(9) as u16).wrapping_sub(4);
        if let Some(field) = bytes.get(at..at + 2) {
            let value = u16::from_be_bytes([field[0], field[1]]).wrapping_add(by);
            write(bytes, at, &value.to_be_bytes());
        }
    }
}

fn write(bytes: &mut [u8], at: usize, value: &[u8]) {
    for (byte, new) in bytes.iter_mut().skip(at).zip(value) {
        *byte = *new;
    }
}

fn own(input: &[u8]) -> Vec<(u8, Vec<u8>)> {
    operations(input).map(|step| (step.what, step.bytes.to_vec())).collect()
}
