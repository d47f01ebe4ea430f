//! Which build this is: what `GET /version` answers, and `--version`.

/// `vX.Y.Z` of a release, else `dev-X.Y.Z`. The Calls plugin refuses versions below `v1.0.0` that are not `dev`.
pub const VERSION: &str = match option_env!("RTCD_BUILD_VERSION") {
    Some(version) if !version.is_empty() => version,
    _ if env!("CARGO_PKG_VERSION_MAJOR").as_bytes()[0] == b'0' => concat!("dev-", env!("CARGO_PKG_VERSION")),
    _ => concat!("v", env!("CARGO_PKG_VERSION")),
};
/// The commit, or `unknown`.
pub const HASH: &str = env!("RTCD_BUILD_HASH");
/// The date of the commit, or `unknown`.
pub const DATE: &str = env!("RTCD_BUILD_DATE");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_one_that_the_plugin_takes() {
        let major = VERSION.strip_prefix('v').and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
        assert!(VERSION.starts_with("dev") || major.is_some_and(|major| major >= 1), "{VERSION}");
    }
}
