//! The report to Azure's fabric at the wire server: `Ready`, or `NotReady` with a reason that the portal shows.
use super::NAME;
use super::ovf::is_called;
use crate::http::Request;
use crate::source::fields::Checked;
use crate::source::{Context, Outcome, SourceError};
use roxmltree::{Document, ParsingOptions};

/// The same in every region (DHCP option 245 says it too).
const BASE: &str = "http://168.63.129.16";
const AGENT: (&str, &str) = ("x-ms-agent-name", "rtcd-provision");
const VERSION: (&str, &str) = ("x-ms-version", "2012-11-30");
/// What the fabric takes of a reason.
const DESCRIPTION_LIMIT: usize = 512;
/// A goal state has some twenty elements for each role.
const NODES_LIMIT: u32 = 1000;

pub(super) fn send(context: &Context<'_>, outcome: &Outcome<'_>) -> Result<(), SourceError> {
    let shaped = |request: Request| request.header(AGENT.0, AGENT.1).header(VERSION.0, VERSION.1);
    let request = shaped(Request::get(format!("{BASE}/machine/?comp=goalstate")));
    let goal = context.required(NAME, &request)?;
    let goal = Goal::parse(&Checked(NAME).utf8("goalstate", goal)?)?;
    let request = Request::post(format!("{BASE}/machine?comp=health"), goal.health(outcome).into_bytes());
    let request = shaped(request).header("Content-Type", "text/xml; charset=utf-8");
    context.required(NAME, &request).map(drop)
}

/// Which machine we are to the fabric, and since which change.
#[derive(PartialEq, Eq, Debug)]
struct Goal {
    incarnation: String,
    container: String,
    instance: String,
}

impl Goal {
    fn parse(text: &str) -> Result<Self, SourceError> {
        let bad = |what: &str| SourceError::field(NAME, "goalstate", what);
        let options = ParsingOptions { nodes_limit: NODES_LIMIT, ..ParsingOptions::default() };
        let text = text.trim_start_matches('\u{feff}');
        let document = Document::parse_with_options(text, options).map_err(|_| bad("is not XML"))?;
        let value = |name: &str| {
            let node = document.descendants().find(|node| is_called(node, name));
            node.and_then(|node| node.text()).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let part = |name: &str| value(name).ok_or_else(|| bad(&format!("has no {name}")));
        Ok(Self { incarnation: part("Incarnation")?, container: part("ContainerId")?, instance: part("InstanceId")? })
    }

    fn health(&self, outcome: &Outcome<'_>) -> String {
        let (state, details) = match outcome {
            Outcome::Ready => ("Ready", String::new()),
            Outcome::Failed(why) => {
                let why: String = why.chars().take(DESCRIPTION_LIMIT).collect();
                let why = escape(&why);
                let details = format!(
                    "<Details><SubStatus>ProvisioningFailed</SubStatus><Description>{why}</Description></Details>"
                );
                ("NotReady", details)
            }
        };
        let [incarnation, container, instance] =
            [&self.incarnation, &self.container, &self.instance].map(|part| escape(part));
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
             <Health xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
             xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\">\
             <GoalStateIncarnation>{incarnation}</GoalStateIncarnation><Container><ContainerId>{container}\
             </ContainerId><RoleInstanceList><Role><InstanceId>{instance}</InstanceId><Health><State>{state}</State>\
             {details}</Health></Role></RoleInstanceList></Container></Health>"
        )
    }
}

/// Text as XML 1.0 takes it: what it cannot hold at all becomes a space.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOAL: &str = "<?xml version=\"1.0\"?><GoalState><Version>2012-11-30</Version><Incarnation>2</Incarnation>\
        <Machine><ExpectedState>Started</ExpectedState></Machine><Container><ContainerId>c-1</ContainerId>\
        <RoleInstanceList><RoleInstance><InstanceId>i.&amp;1</InstanceId></RoleInstance></RoleInstanceList>\
        </Container></GoalState>";

    #[test]
    fn a_failure_is_reported_with_its_reason_as_well_formed_xml() {
        let why = format!("rtcd.api <&> \"'\u{7}]]> {}", "x".repeat(1000));
        let health = Goal::parse(GOAL).unwrap().health(&Outcome::Failed(&why));
        let document = Document::parse(&health).unwrap();
        let text = |name| document.descendants().find(|node| is_called(node, name)).and_then(|node| node.text());
        assert_eq!(text("State"), Some("NotReady"));
        assert_eq!(text("SubStatus"), Some("ProvisioningFailed"));
        assert_eq!(text("InstanceId"), Some("i.&1"));
        let description = text("Description").unwrap();
        assert!(description.starts_with("rtcd.api <&> \"' ]]> xxx") && description.chars().count() == 512);
    }

    #[test]
    fn a_goal_state_without_a_part_is_refused_by_its_name() {
        let goal = GOAL.replace("ContainerId>", "Other>");
        assert_eq!(Goal::parse(&goal).unwrap_err().to_string(), "Azure: goalstate has no ContainerId");
        assert!(Goal::parse("<a>").is_err());
    }
}
