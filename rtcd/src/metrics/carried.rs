//! What processes before this one have counted whose calls go on here: counters and histograms do not begin anew with a process.
use crate::ids::ClientId;
use prometheus::proto::{Bucket, Counter, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use rtcd_media::sfu::switch;
use serde::{Deserialize, Serialize};

/// Counters and histograms, by what is read of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counted {
    series: Vec<Series>,
    /// Counters of the plane, by their names.
    plane: Vec<(String, u64)>,
}

/// One series of a family.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Series {
    family: String,
    help: String,
    labels: Vec<(String, String)>,
    value: Value,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Value {
    Counter(f64),
    Histogram {
        /// Upper bounds, and observations up to there.
        buckets: Vec<(f64, u64)>,
        sum: f64,
        count: u64,
    },
}

fn labels(metric: &Metric) -> Vec<(String, String)> {
    metric.get_label().iter().map(|label| (label.name().to_owned(), label.value().to_owned())).collect()
}

impl Value {
    fn of(kind: MetricType, metric: &Metric) -> Option<Self> {
        match kind {
            MetricType::COUNTER => Some(Self::Counter(metric.get_counter().get_value())),
            MetricType::HISTOGRAM => {
                let histogram = metric.get_histogram();
                let buckets = histogram.get_bucket().iter();
                let buckets = buckets.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count())).collect();
                let (sum, count) = (histogram.get_sample_sum(), histogram.get_sample_count());
                Some(Self::Histogram { buckets, sum, count })
            }
            _ => None,
        }
    }

    fn kind(&self) -> MetricType {
        match self {
            Self::Counter(_) => MetricType::COUNTER,
            Self::Histogram { .. } => MetricType::HISTOGRAM,
        }
    }

    /// What it is together with a metric of now. A histogram whose buckets are others now counts in those that are there still.
    fn add_to(&self, metric: &mut Metric) {
        match self {
            Self::Counter(value) => {
                let mut counter = Counter::default();
                counter.set_value(metric.get_counter().get_value() + value);
                metric.set_counter(counter);
            }
            Self::Histogram { buckets, sum, count } => {
                let now = metric.get_histogram().clone();
                let before =
                    |bound: f64| buckets.iter().find(|(known, _)| *known == bound).map_or(0, |(_, count)| *count);
                let bounds: Vec<(f64, u64)> = if now.get_bucket().is_empty() {
                    buckets.iter().map(|(bound, _)| (*bound, 0)).collect()
                } else {
                    now.get_bucket().iter().map(|bucket| (bucket.upper_bound(), bucket.cumulative_count())).collect()
                };
                let bucket = |(bound, count): (f64, u64)| {
                    let mut bucket = Bucket::default();
                    bucket.set_upper_bound(bound);
                    bucket.set_cumulative_count(count + before(bound));
                    bucket
                };
                let mut histogram = Histogram::default();
                histogram.set_bucket(bounds.into_iter().map(bucket).collect());
                histogram.set_sample_sum(now.get_sample_sum() + sum);
                histogram.set_sample_count(now.get_sample_count() + count);
                metric.set_histogram(histogram);
            }
        }
    }
}

impl Series {
    fn metric(&self) -> Metric {
        let pair = |(name, value): &(String, String)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.clone());
            pair.set_value(value.clone());
            pair
        };
        Metric::from_label(self.labels.iter().map(pair).collect())
    }
}

impl Counted {
    /// What is counted in these families, and in the plane. What switches have counted they carry themselves.
    pub(super) fn of(families: &[MetricFamily], plane: &[(&'static str, &'static str, u64)]) -> Self {
        let series = families.iter().flat_map(|family| {
            let kind = family.get_field_type();
            family.get_metric().iter().filter_map(move |metric| {
                let (family, help) = (family.name().to_owned(), family.help().to_owned());
                Some(Series { family, help, labels: labels(metric), value: Value::of(kind, metric)? })
            })
        });
        let of_switches = |name: &str| switch::Counters::NAMES.iter().any(|(known, _)| *known == name);
        let plane =
            plane.iter().filter(|(name, ..)| !of_switches(name)).map(|(name, _, value)| ((*name).to_owned(), *value));
        Self { series: series.collect(), plane: plane.collect() }
    }

    /// Adds it to what has been counted since.
    pub(super) fn add_to(&self, families: &mut Vec<MetricFamily>) {
        for series in &self.series {
            let family = match families.iter_mut().position(|family| family.name() == series.family) {
                Some(at) => &mut families[at],
                None => {
                    let mut family = MetricFamily::default();
                    family.set_name(series.family.clone());
                    family.set_help(series.help.clone());
                    family.set_field_type(series.value.kind());
                    families.push(family);
                    let last = families.len() - 1;
                    &mut families[last]
                }
            };
            // Another version may count otherwise.
            if family.get_field_type() != series.value.kind() {
                continue;
            }
            let metrics = family.mut_metric();
            match metrics.iter_mut().find(|metric| labels(metric) == series.labels) {
                Some(metric) => series.value.add_to(metric),
                None => {
                    let mut metric = series.metric();
                    series.value.add_to(&mut metric);
                    metrics.push(metric);
                }
            }
        }
    }

    /// What a counter of the plane had come to.
    pub(super) fn of_plane(&self, name: &str) -> u64 {
        self.plane.iter().find(|(known, _)| known == name).map_or(0, |(_, value)| *value)
    }

    /// Nothing of a client is live any more.
    pub(super) fn forget(&mut self, client: &ClientId) {
        let names = ["groupID", "clientID"];
        let is_of = |(name, value): &(String, String)| names.contains(&name.as_str()) && value == client.as_str();
        self.series.retain(|series| !series.labels.iter().any(is_of));
    }
}
