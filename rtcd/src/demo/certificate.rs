//! The certificate of a page that other machines reach: browsers give a microphone to pages over HTTPS alone.
use anyhow::{Context as _, Result};
use aws_lc_rs::digest::{SHA256, digest};
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::IpAddr;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// How many days it is valid from yesterday on: browsers of Apple refuse those that are valid for long.
const DAYS: i64 = 60;

/// What the page is served with.
pub struct Certificate {
    /// Takes TLS connections with it.
    pub acceptor: TlsAcceptor,
    /// SHA-256 of the certificate, in the form in which browsers show it.
    pub fingerprint: String,
}

/// A self-signed one for these addresses and names. Its key lives in memory alone and ends with the demo.
pub fn generate(addresses: &[IpAddr], host_name: Option<&str>) -> Result<Certificate> {
    let mut names: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    names.extend(["localhost".to_owned()].into_iter().chain(host_name.map(str::to_owned)));
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "rtcd demo");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let day = |days: i64| -> Result<_> {
        let date = today.checked_add(days.days())?;
        Ok(rcgen::date_time_ymd(i32::from(date.year()), u8::try_from(date.month())?, u8::try_from(date.day())?))
    };
    params.not_before = day(-1)?;
    params.not_after = day(DAYS - 1)?;
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let der = certificate.der().clone();
    let hash = digest(&SHA256, &der);
    let fingerprint = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    let config = ServerConfig::builder_with_provider(crate::net::tls_client::provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![der], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
        .context("the generated certificate")?;
    Ok(Certificate { acceptor: TlsAcceptor::from(Arc::new(config)), fingerprint })
}
