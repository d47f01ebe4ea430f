//! What one client may have.
use crate::ids::ClientId;
use std::collections::HashMap;

/// How many sessions each client has.
#[derive(Debug, Default)]
pub(super) struct Quota(HashMap<ClientId, usize>);

impl Quota {
    /// Whether the client may have one more; then it has.
    pub(super) fn take(&mut self, client: &ClientId, max: usize) -> bool {
        let count = self.0.entry(client.clone()).or_default();
        let granted = *count < max;
        *count += usize::from(granted);
        granted
    }

    /// It has one less.
    pub(super) fn give_back(&mut self, client: &ClientId) {
        if let Some(count) = self.0.get_mut(client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_bound() {
        let mut quota = Quota::default();
        let (a, b) = (ClientId::from("a"), ClientId::from("b"));
        assert!(quota.take(&a, 2) && quota.take(&a, 2) && !quota.take(&a, 2) && quota.take(&b, 2));
        quota.give_back(&a);
        assert!(quota.take(&a, 2) && !quota.take(&a, 2));
        quota.give_back(&b);
        assert!(!quota.0.contains_key(&b));
    }
}
