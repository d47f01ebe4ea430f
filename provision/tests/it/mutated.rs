//! Any bytes, and real user data with bytes changed, never cause a panic or a message that plays with the console.
use proptest::prelude::*;
use proptest::sample::Index;
use provision::fuzzing;
use std::path::Path;

fn all(bytes: &[u8]) {
    fuzzing::yaml(bytes);
    fuzzing::user_data(bytes);
    fuzzing::cloud_config(bytes);
    fuzzing::variables(bytes);
    fuzzing::network(bytes);
}

/// All fixtures, good and bad.
fn fixtures() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let directories = ["accepted", "mistakes", "network/accepted", "network/mistakes"]
        .map(|directory| std::fs::read_dir(root.join(directory)).unwrap());
    let paths = directories.into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension != "expected")).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// What means something to YAML, to MIME or to us.
const WORDS: &[&str] = &[
    "-",
    "[",
    "]",
    "{",
    "}",
    ": ",
    "\"",
    "'",
    "|\n",
    ">-",
    "&a ",
    "*a",
    "!a ",
    "%",
    "#",
    "\n",
    "\t",
    "  ",
    "\\",
    "$",
    "? ",
    "<<: ",
    "---\n",
    "...\n",
    "\r",
    "\u{a0}",
    "\u{85}",
    "\u{feff}",
    "null",
    "~",
    "0x",
    "8_443",
    "rtcd:",
    "rtc.",
    "a.b.c: ",
    "#cloud-config\n",
    "#cloud-config-archive\n",
    "--BOUNDARY\n",
    "--BOUNDARY--\n",
    "\n\n",
    "Content-Type: multipart/mixed; boundary=BOUNDARY\n",
    "Content-Type: text/cloud-config\n",
    "Content-Transfer-Encoding: base64\n",
    "Content-Transfer-Encoding: quoted-printable\n",
    "Content-Disposition: attachment; filename*0*=utf-8''a",
    "; filename*1=b; filename*1*=%c3",
    "; name*0*0*=x",
    "; boundary*=''x",
    "=?utf-8?q?=3D?=",
    "=\n",
    "\u{1f}",
];

/// One of the fixtures with up to eight changes: a byte replaced, a word put in, a stretch cut out or taken from
/// another.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let fixtures = fixtures();
    let change = (any::<Index>(), any::<Index>(), any::<Index>(), any::<u8>(), 0..4);
    (any::<Index>(), prop::collection::vec(change, 0..8)).prop_map(move |(which, changes)| {
        let mut bytes = which.get(&fixtures).clone();
        for (from, to, other, byte, kind) in changes {
            let (start, end) = (from.index(bytes.len() + 1), to.index(bytes.len() + 1));
            let stretch = start.min(end)..start.max(end);
            let other = other.get(&fixtures);
            let part = other.get(..start.min(other.len())).unwrap_or_default().to_vec();
            match kind {
                0 => {
                    bytes.splice(start..(start + 1).min(bytes.len()).max(start), [byte]);
                }
                1 => {
                    bytes.splice(start..start, WORDS[usize::from(byte) % WORDS.len()].bytes());
                }
                2 => {
                    bytes.splice(stretch, []);
                }
                _ => {
                    bytes.splice(stretch, part);
                }
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_user_data_never_panics(bytes in mutated()) {
        all(&bytes);
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        all(&bytes);
    }

    #[test]
    fn any_text_never_panics(text in "(#cloud-config\n)?[ -~\n\r\té\u{a0}]{0,500}") {
        all(text.as_bytes());
    }
}
