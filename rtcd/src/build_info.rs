//! Which build this is: the answer of `GET /version`.
use serde::Serialize;

/// `vX.Y.Z` of a release, else `dev-X.Y.Z`. The Calls plugin refuses versions below `v1.0.0` that are not `dev`.
pub const VERSION: &str = env!("RTCD_BUILD_VERSION");
/// What `--version` says.
pub const LONG_VERSION: &str =
    concat!(env!("RTCD_BUILD_VERSION"), " (commit ", env!("RTCD_BUILD_HASH"), " of ", env!("RTCD_BUILD_DATE"), ")");
/// The commit, or `unknown`.
pub const HASH: &str = env!("RTCD_BUILD_HASH");
/// The date of the commit, or `unknown`.
pub const DATE: &str = env!("RTCD_BUILD_DATE");

/// The body of `GET /version`. Each of the first three goes under the reference's name and under the guide's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are the contract's")]
pub struct BuildInfo {
    pub build_date: &'static str,
    pub build_version: &'static str,
    pub build_hash: &'static str,
    #[serde(rename = "build_date")]
    pub build_date_alias: &'static str,
    #[serde(rename = "build_version")]
    pub build_version_alias: &'static str,
    #[serde(rename = "build_hash")]
    pub build_hash_alias: &'static str,
    /// The compiler: there is no Go here, but the field is expected.
    pub go_version: &'static str,
    #[serde(rename = "goOS")]
    pub go_os: &'static str,
    pub go_arch: &'static str,
}

impl BuildInfo {
    /// What this binary was built from.
    pub const fn this() -> Self {
        Self {
            build_date: DATE,
            build_version: VERSION,
            build_hash: HASH,
            build_date_alias: DATE,
            build_version_alias: VERSION,
            build_hash_alias: HASH,
            go_version: env!("RTCD_RUSTC_VERSION"),
            go_os: std::env::consts::OS,
            go_arch: match std::env::consts::ARCH.as_bytes() {
                b"x86_64" => "amd64",
                b"aarch64" => "arm64",
                _ => std::env::consts::ARCH,
            },
        }
    }
}

#[cfg(test)]
#[allow(dead_code, reason = "its main runs at build time")]
#[path = "../build.rs"]
mod script;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_a_v_and_three_numbers_and_all_else_is_dev() {
        for (told, spelled) in [
            ("v1.2.3", "v1.2.3"),
            ("1.2.3", "v1.2.3"),
            ("v1.2.3-rc1", "v1.2.3-rc1"),
            ("1.2.3.700", "dev-1.2.3.700"),
            ("v0.9.0", "dev-0.9.0"),
            ("dev-0.1.0", "dev-0.1.0"),
            ("next", "dev-next"),
        ] {
            assert_eq!(script::spelled(told), spelled, "{told}");
        }
    }

    #[test]
    fn the_version_is_one_that_the_plugin_takes() {
        let major = VERSION.strip_prefix('v').and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
        assert!(VERSION.starts_with("dev") || major.is_some_and(|major| major >= 1), "{VERSION}");
        let json = serde_json::to_value(BuildInfo::this()).expect("plain strings");
        for name in ["buildDate", "buildVersion", "buildHash", "goVersion", "goOS", "goArch", "build_version"] {
            assert!(json[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {json}");
        }
    }
}
