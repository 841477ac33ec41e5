//! The architectures that are known, by asking their builders.

use retune::engine::network::{Entry, entries};

use super::head;

pub fn page() -> String {
    let mut page = head("Networks", "the builders in `src/engine/network/families`");
    page.push_str(
        "`retune networks` prints the same. What stands in a line can be carried by every method, ",
    );
    page.push_str("evaluated and trained; a body without a head has no loss, and is carried by `identity` and ");
    page.push_str("`weight_matching` alone. Of every other network that is stored as safetensors only `identity` ");
    page.push_str("can be carried, [by its tensors' names](../guide/models-and-data.md#networks-by-names).\n\n");
    page.push_str("Of a network with experts the order of the experts and the units of each are permuted. `functional`, ");
    page.push_str("`bico` and `theseus` leave both as they are: they fit or map the layers beside the experts.\n\n");
    page.push_str("| names | library | classes that are read |\n|---|---|---|\n");
    for Entry {
        names,
        library,
        classes,
        has_bodies,
        has_experts,
    } in entries()
    {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let body = has_bodies.then_some("a body (`…Model`)".to_owned());
        let classes = classes
            .iter()
            .map(|class| format!("`…{class}`"))
            .chain(body);
        let classes: Vec<String> = classes.collect();
        let classes = if classes.is_empty() {
            "classifiers of images".into()
        } else {
            classes.join(", ")
        };
        let experts = if has_experts { "; has experts" } else { "" };
        page.push_str(&format!(
            "| {} | {library} | {classes}{experts} |\n",
            names.join(", ")
        ));
    }
    page.push_str("| `\"model_type\": \"graph\"` | yours | [a network as a graph]");
    page.push_str("(../guide/models-and-data.md#a-network-as-a-graph) |\n");
    page
}
