//! `$public_ipv4` and its like: what the source of the metadata tells, in the values of `rtcd:`. Secrets are never
//! looked at: [`crate::merge`] leaves them out.
use crate::nearest;

/// What can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Variable {
    /// The address that the world sees.
    PublicIpv4,
    /// The address on the machine's own interface.
    PrivateIpv4,
    /// A global IPv6 address.
    PublicIpv6,
    /// `local_hostname` of the metadata.
    Hostname,
}

/// All of them with their names.
pub const ALL: [(&str, Variable); 4] = [
    ("public_ipv4", Variable::PublicIpv4),
    ("private_ipv4", Variable::PrivateIpv4),
    ("public_ipv6", Variable::PublicIpv6),
    ("hostname", Variable::Hostname),
];

/// The text with its variables replaced, or all that is wrong with it. `$$` is a `$`; so is a `$` that no letter
/// follows.
pub fn expand(text: &str, value: &dyn Fn(Variable) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut wrong = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out += before;
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let (name, following) = after.split_at(end);
        rest = following;
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if after.starts_with('{') {
            wrong.push("variables are written without braces: $public_ipv4; for a $ itself write $$".to_owned());
        } else if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            out.push('$');
            rest = after;
        } else {
            match replaced(name, value) {
                Ok(value) => out += &value,
                Err(why) => wrong.push(why),
            }
        }
    }
    out += rest;
    if wrong.is_empty() { Ok(out) } else { Err(wrong.join("; ")) }
}

fn replaced(name: &str, value: &dyn Fn(Variable) -> Option<String>) -> Result<String, String> {
    let Some((name, variable)) = ALL.into_iter().find(|(known, _)| *known == name) else {
        let names = ALL.map(|(name, _)| name);
        let hint = match nearest::nearest(name, names) {
            Some(nearest) => format!("did you mean ${nearest}?"),
            None => format!("known are ${}; for a $ itself write $$", names.join(", $")),
        };
        // Names are letters, digits and underscores; a long one is more likely a password.
        return Err(match name.len() {
            0..=32 => format!("${name} is no variable that is known; {hint}"),
            _ => format!("there is a $ with no known variable after it; {hint}"),
        });
    };
    value(variable).ok_or_else(|| format!("${name} is not told by the source of the metadata; write the value itself"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let value = |variable| match variable {
            Variable::PublicIpv4 => Some("192.0.2.1".to_owned()),
            Variable::PrivateIpv4 => Some("10.0.0.1".to_owned()),
            Variable::PublicIpv6 | Variable::Hostname => None,
        };
        let found = expand(text, &value);
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text:?}");
    }

    #[test]
    fn variables_are_replaced_wherever_they_stand() {
        check("", Ok(""));
        check("192.0.2.7", Ok("192.0.2.7"));
        check("$public_ipv4", Ok("192.0.2.1"));
        check("$public_ipv4/$private_ipv4", Ok("192.0.2.1/10.0.0.1"));
        check("turn:$public_ipv4:3478", Ok("turn:192.0.2.1:3478"));
        check("$public_ipv4$private_ipv4", Ok("192.0.2.110.0.0.1"));
    }

    #[test]
    fn a_dollar_can_stand_for_itself() {
        check("$$public_ipv4", Ok("$public_ipv4"));
        check("$$$public_ipv4", Ok("$192.0.2.1"));
        check("5$", Ok("5$"));
        check("$5", Ok("$5"));
        check("$ $ü", Ok("$ $ü"));
    }

    #[test]
    fn what_is_not_known_or_not_told_is_a_mistake() {
        check("$public_ip4", Err("$public_ip4 is no variable that is known; did you mean $public_ipv4?"));
        check(
            "$PUBLIC_IPV4",
            Err(
                "$PUBLIC_IPV4 is no variable that is known; known are $public_ipv4, $private_ipv4, $public_ipv6, $hostname; for a $ itself write $$",
            ),
        );
        check("$public_ipv6", Err("$public_ipv6 is not told by the source of the metadata; write the value itself"));
        check("${public_ipv4}", Err("variables are written without braces: $public_ipv4; for a $ itself write $$"));
        check(
            "$a/$hostname",
            Err(
                "$a is no variable that is known; known are $public_ipv4, $private_ipv4, $public_ipv6, $hostname; for a $ itself write $$; $hostname is not told by the source of the metadata; write the value itself",
            ),
        );
    }
}
