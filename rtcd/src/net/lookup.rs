//! Names to addresses. The system's resolver blocks for as long as its servers are silent, so a lookup goes on by itself
//! and whoever is not content to wait comes back for its answer: there is never more than one for a name.
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::{Instant, timeout_at};

type Answer = Result<Arc<[SocketAddr]>, Arc<str>>;
type Lookup = Shared<BoxFuture<'static, Answer>>;

/// The lookups that are under way.
#[derive(Clone, Default)]
pub struct Resolver {
    pending: Arc<Mutex<HashMap<(String, u16), Lookup>>>,
}

impl Resolver {
    /// The addresses of a host, or in words why there are none by then.
    pub async fn lookup(&self, host: &str, port: u16, deadline: Instant) -> Answer {
        let key = (host.to_owned(), port);
        let lookup = {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            pending.entry(key.clone()).or_insert_with(|| start(key.clone())).clone()
        };
        match timeout_at(deadline, lookup).await {
            Ok(answer) => {
                self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                answer
            }
            Err(_) => Err("the name servers do not answer".into()),
        }
    }
}

fn start((host, port): (String, u16)) -> Lookup {
    let lookup = async move {
        match tokio::net::lookup_host((host.as_str(), port)).await {
            Ok(addresses) => Ok(addresses.collect()),
            Err(error) => Err(error.to_string().into()),
        }
    };
    lookup.boxed().shared()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_name_and_an_address_are_found_and_nothing_stays_pending() {
        let resolver = Resolver::default();
        let deadline = Instant::now() + Duration::from_secs(5);
        let found = resolver.lookup("localhost", 7, deadline).await.expect("every machine has one");
        assert!(found.iter().any(|address| address.ip().is_loopback()), "{found:?}");
        let found = resolver.lookup("192.0.2.1", 7, deadline).await.expect("an address");
        assert_eq!(&found[..], &["192.0.2.1:7".parse().expect("an address")]);
        assert!(resolver.lookup("no such name", 7, deadline).await.is_err());
        assert!(resolver.pending.lock().expect("not poisoned").is_empty());
    }
}
