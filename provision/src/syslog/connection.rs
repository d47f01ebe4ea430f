//! The connection to a log server: TCP, or TLS over it with the server's name checked.
use super::SyslogError;
use crate::cloud_config::Sink;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For one address, and for the handshake.
const CONNECT: Duration = Duration::from_secs(10);
/// A server that has confirmed nothing for so long has gone: the kernel ends the connection (`TCP_USER_TIMEOUT`, tcp(7)).
pub const UNCONFIRMED: Duration = Duration::from_secs(20);
/// How long a server is looked after when there is nothing to say.
const IDLE: Duration = Duration::from_secs(30);
/// How long the last lines may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// What TLS needs, read once.
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// `None` for a server without it.
    pub fn of(sink: &Sink) -> Result<Option<Self>, SyslogError> {
        if !sink.target.tls {
            return Ok(None);
        }
        let unusable = |what: &str| SyslogError::Certificates(what.to_owned());
        let mut roots = RootCertStore::empty();
        match &sink.ca {
            Some(pem) => {
                let read = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
                roots.add_parsable_certificates(read.map_err(|_| unusable("ca"))?);
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                for error in &found.errors {
                    tracing::warn!(%error, "certificates of the system cannot be read");
                }
                roots.add_parsable_certificates(found.certs);
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(SyslogError::Tls)?
            .with_root_certificates(roots);
        let config = match &sink.client {
            Some(client) => {
                let (chain, key) = client.read().ok_or_else(|| unusable("certificate or key"))?;
                builder.with_client_auth_cert(chain, key).map_err(SyslogError::Tls)?
            }
            None => builder.with_no_client_auth(),
        };
        let name = sink.target.host.clone().try_into().map_err(|_| unusable("host name"))?;
        Ok(Some(Self { config: Arc::new(config), name }))
    }
}

/// An open connection.
pub struct Connection {
    stream: TcpStream,
    tls: Option<ClientConnection>,
}

impl Connection {
    /// Looks the name up anew, tries its addresses in turn, and shakes hands.
    pub fn open(sink: &Sink, tls: Option<&Tls>) -> Result<Self, SyslogError> {
        let (host, port) = (sink.target.host.as_str(), sink.target.port);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let mut found = None;
        for address in (host, port).to_socket_addrs().map_err(SyslogError::Name)? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    found = Some(stream);
                    break;
                }
                Err(error) => last = error,
            }
        }
        let stream = found.ok_or(SyslogError::Connect(last))?;
        prepare(&stream).map_err(SyslogError::Connect)?;
        let tls = tls.map(|tls| ClientConnection::new(tls.config.clone(), tls.name.clone()));
        let mut connection = Self { stream, tls: tls.transpose().map_err(SyslogError::Tls)? };
        connection.shake_hands()?;
        Ok(connection)
    }

    fn shake_hands(&mut self) -> Result<(), SyslogError> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        self.stream.set_read_timeout(Some(CONNECT)).map_err(SyslogError::Connect)?;
        let deadline = Instant::now() + CONNECT;
        while tls.is_handshaking() {
            if Instant::now() >= deadline {
                return Err(SyslogError::Handshake(io::ErrorKind::TimedOut.into()));
            }
            tls.complete_io(&mut self.stream).map_err(SyslogError::Handshake)?;
        }
        Ok(())
    }

    /// Hands a message to the kernel; waits where its buffer is full.
    pub fn send(&mut self, message: &[u8]) -> Result<(), SyslogError> {
        match &mut self.tls {
            None => self.stream.write_all(message),
            Some(tls) => tls.writer().write_all(message).and_then(|()| flush(tls, &mut self.stream)),
        }
        .map_err(SyslogError::Lost)
    }

    /// Whether the server is still there: a syslog server says nothing, so whatever can be read is its end, or TLS's own.
    pub fn check(&mut self) -> Result<(), SyslogError> {
        self.stream.set_nonblocking(true).map_err(SyslogError::Lost)?;
        let heard = self.hear();
        self.stream.set_nonblocking(false).map_err(SyslogError::Lost)?;
        match heard {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(SyslogError::Lost(error)),
            Ok(true) => Err(SyslogError::Closed),
            Ok(false) => Ok(()),
        }
    }

    /// Reads what there is and throws it away; whether that was the end.
    fn hear(&mut self) -> io::Result<bool> {
        let mut ignored = [0; 4096];
        let Some(tls) = &mut self.tls else {
            return self.stream.read(&mut ignored).map(|read| read == 0);
        };
        if tls.read_tls(&mut self.stream)? == 0 {
            return Ok(true);
        }
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        if state.peer_has_closed() {
            return Ok(true);
        }
        if state.plaintext_bytes_to_read() > 0 {
            let _ = tls.reader().read(&mut ignored)?;
        }
        Ok(false)
    }

    /// Says that nothing more comes, and waits until the server has taken all of it. Whether it has.
    pub fn close(mut self) -> bool {
        let mut farewell = || -> io::Result<bool> {
            if let Some(tls) = &mut self.tls {
                tls.send_close_notify();
                flush(tls, &mut self.stream)?;
            }
            self.stream.shutdown(Shutdown::Write)?;
            self.stream.set_read_timeout(Some(FAREWELL))?;
            let deadline = Instant::now() + FAREWELL;
            let mut ignored = [0; 4096];
            while Instant::now() < deadline {
                if self.stream.read(&mut ignored)? == 0 {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        farewell().unwrap_or(false)
    }
}

fn flush(tls: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(stream)?;
    }
    Ok(())
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(UNCONFIRMED))?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(UNCONFIRMED))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(IDLE).with_interval(IDLE))
}
