//! The listener of the API: what the process before this one has left, what a socket unit hands over, or a new one.
use crate::config::ListenAddress;
use crate::net::listen::{self, CannotBind};
use crate::systemd::{self, Inherited};
use std::net::{SocketAddr, TcpListener};

/// Finds or binds it; under systemd it is kept for the process after this one. Blocks while a name is resolved.
pub fn of_api(configured: &ListenAddress, inherited: Option<Inherited>) -> Result<TcpListener, CannotBind> {
    match inherited {
        Some(Inherited::Activated(listener)) => {
            warn_of_other_port(&listener, configured);
            return Ok(listener);
        }
        Some(Inherited::Kept(listener)) => {
            if listener.local_addr().is_ok_and(|address| is_meant(address, configured)) {
                tracing::info!(address = ?listener.local_addr().ok(), "the API's listener of the process before is used again");
                return Ok(listener);
            }
            // Closed before the new one is bound: they may share the port.
            drop(listener);
            systemd::forget();
        }
        None => {}
    }
    let listener = listen::bind(configured)?;
    systemd::keep(&listener);
    Ok(listener)
}

/// Whether binding anew would give the same. What a name leads to may have changed.
fn is_meant(bound: SocketAddr, configured: &ListenAddress) -> bool {
    match configured {
        ListenAddress::Any(port) => bound.ip().is_unspecified() && bound.port() == *port,
        // Bound for both families where there are both.
        ListenAddress::Address(address) if address.is_ipv6() && address.ip().is_unspecified() => {
            bound.ip().is_unspecified() && bound.port() == address.port()
        }
        ListenAddress::Address(address) => bound == *address,
        ListenAddress::Name(..) => false,
    }
}

/// What a socket unit has bound wins: the operator may be looking at the key and wonder.
fn warn_of_other_port(listener: &TcpListener, configured: &ListenAddress) {
    let Ok(address) = listener.local_addr() else { return };
    let same = match configured {
        ListenAddress::Any(port) | ListenAddress::Name(_, port) => address.port() == *port,
        ListenAddress::Address(configured) => address == *configured,
    };
    if same {
        tracing::info!(%address, "listener taken over from systemd");
    } else {
        tracing::warn!(%address, %configured, "api.http.listen_address has no effect: systemd listens for the API");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_listener_is_used_for_the_address_that_it_was_bound_for_alone() {
        let any = ListenAddress::Any(8045);
        for (bound, configured, meant) in [
            ("[::]:8045", any.clone(), true),
            ("0.0.0.0:8045", any.clone(), true),
            ("127.0.0.1:8045", any.clone(), false),
            ("[::]:8046", any, false),
            ("127.0.0.1:8045", ListenAddress::Address("127.0.0.1:8045".parse().unwrap()), true),
            ("[::]:8045", ListenAddress::Address("127.0.0.1:8045".parse().unwrap()), false),
            ("0.0.0.0:8045", ListenAddress::Address("[::]:8045".parse().unwrap()), true),
            ("127.0.0.1:8045", ListenAddress::Name("localhost".into(), 8045), false),
        ] {
            assert_eq!(is_meant(bound.parse().unwrap(), &configured), meant, "{bound} for {configured}");
        }
    }
}
