//! What somebody may have meant.

/// The candidate that is most like `word`, when one is like it at all.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// The same as for the keys of rtcd: two letters of seven may differ.
    const ALIKE: f64 = 0.7;
    /// Comparing takes the product of both lengths; nothing that is known is as long as this.
    const LONGEST: usize = 128;
    let word = word.get(..LONGEST).map_or(word, |_| "");
    let likeness = |candidate: &str| match strsim::damerau_levenshtein(candidate, word) {
        // One slip in a short word: `rct`.
        1 if word.len() >= 3 => 1.0,
        _ => strsim::normalized_damerau_levenshtein(candidate, word),
    };
    let best =
        candidates.into_iter().map(|candidate| (likeness(candidate), candidate)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= ALIKE).then_some(best.1)
}
