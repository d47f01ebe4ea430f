//! The pure table: facts in, source out.
