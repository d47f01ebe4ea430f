//! Connections from a port below 1024: how Scaleway knows that root asks for the user data.
use socket2::{Domain, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;
use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

/// Where the search for a free port begins; it goes down, as `rresvport(3)` does.
const FIRST: u16 = 1023;
/// Below are ports of well-known services.
const LAST: u16 = 600;

/// Connects from a low port.
#[derive(Debug)]
pub(super) struct LowPort {
    /// Whether a connection from any port is of no use. It is of use where a test stands for the cloud.
    pub required: bool,
}

/// Marks the error of a machine that does not let us.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(io::Error);

/// Whether an error is that one.
pub(super) fn refused(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Refused>())
}

impl Connector for LowPort {
    type Out = Connection;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Connection>, Error> {
        let timeout = *details.timeout.after;
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in &details.addrs {
            match self.open(*address, timeout) {
                Ok(stream) => {
                    let buffers =
                        LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
                    return Ok(Some(Connection { stream, buffers }));
                }
                Err(error) => last = error,
            }
        }
        Err(Error::Io(last))
    }
}

impl LowPort {
    fn open(&self, address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        let any = if address.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        for port in (LAST..=FIRST).rev() {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            match socket.bind(&SocketAddr::new(any, port).into()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => continue,
                Err(_) if !self.required => return TcpStream::connect_timeout(&address, timeout),
                Err(error) => return Err(io::Error::new(error.kind(), Refused(error))),
            }
            match socket.connect_timeout(&address.into(), timeout) {
                // The port is held by a connection to the same place that has just ended.
                Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable) => {}
                connected => return connected.map(|()| socket.into()),
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

/// A connection, as the library wants it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.set_write_timeout(Some(left(timeout)?))?;
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(output).map_err(|error| late(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.set_read_timeout(Some(left(timeout)?))?;
        let amount = self.stream.read(self.buffers.input_append_buf()).map_err(|error| late(error, timeout))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // No connection is used twice.
        false
    }
}

/// Zero would mean no timeout at all to a socket.
fn left(timeout: NextTimeout) -> Result<Duration, Error> {
    if timeout.after.is_zero() { Err(Error::Timeout(timeout.reason)) } else { Ok(*timeout.after) }
}

fn late(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => Error::Io(error),
    }
}
