//! The job as a program would submit it.

use serde_json::Value;

/// The same job in three languages.
pub struct Snippets {
    pub retune: String,
    pub curl: String,
    pub python: String,
}

impl Snippets {
    /// Of a specification, with the end of a here-document that no line of JSON can be.
    pub fn of(spec: &Value) -> Self {
        let json = serde_json::to_string_pretty(spec).unwrap_or_default();
        // Between Python's quotes nothing may end them.
        let quoted = json.replace('\'', "\\u0027");
        Self {
            retune: format!("retune submit - --wait <<'JSON'\n{json}\nJSON"),
            curl: format!(
                "curl --fail-with-body \"$RETUNE_URL/v1/transfers\" \\\n  \
                 -H \"Authorization: Bearer $RETUNE_API_KEY\" \\\n  \
                 -H 'Content-Type: application/json' --data-binary @- <<'JSON'\n{json}\nJSON"
            ),
            python: format!(
                "import json\n\nfrom retune_client import Client, show_progress\n\n\
                 spec = json.loads(r'''\n{quoted}\n''')\n\n\
                 client = Client()  # RETUNE_URL and RETUNE_API_KEY\n\
                 transfer = client.transfer(spec).wait(progress=show_progress)\n\
                 print(transfer.verdict)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_of_the_job_ends_no_quotes() {
        let snippets = Snippets::of(&json!({"output": "s3://a'''b/\nJSON"}));
        assert!(
            !snippets
                .python
                .replace("r'''\n", "")
                .replace("\n''')", "")
                .contains("'''")
        );
        assert_eq!(
            snippets.curl.lines().filter(|line| *line == "JSON").count(),
            1
        );
        assert_eq!(
            snippets
                .retune
                .lines()
                .filter(|line| *line == "JSON")
                .count(),
            1
        );
    }
}
