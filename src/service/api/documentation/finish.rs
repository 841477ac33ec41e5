//! What the document needs and the handlers do not say: a description of every response, names for pages,
//! items of pages by reference, and that open operations ask for no key.

use std::collections::BTreeMap;

use utoipa::openapi::{
    Components, OpenApi, PathItem, Ref, RefOr, Response, Schema,
    content::Content,
    path::Operation,
    schema::{Array, ArrayItems, SchemaType, Type},
};

/// What generic types are called by the generator; a page of transfers is `Page_Transfer`.
const GENERIC: &str = "Page_";

/// Brings the document into its published form.
pub fn finish(document: &mut OpenApi) {
    if let Some(components) = &mut document.components {
        name_pages(components);
    }
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        if operation.security.is_none() {
            operation.security = Some(Vec::new());
        }
        let summary = operation.summary.clone().unwrap_or_default();
        for (status, response) in &mut operation.responses.responses {
            let RefOr::T(response) = response else {
                continue;
            };
            if response.description.is_empty() {
                response.description = describe(status, &summary);
            }
            refer(response);
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem {
        get,
        put,
        post,
        delete,
        options,
        head,
        patch,
        trace,
        ..
    } = item;
    [get, put, post, delete, options, head, patch, trace]
        .into_iter()
        .flatten()
}

/// What a response is, where its handler does not say.
fn describe(status: &str, summary: &str) -> String {
    match status {
        "default" => "Another refusal; its `code` says which".to_owned(),
        _ if status.starts_with('2') && !summary.is_empty() => {
            format!("Done: {}", summary.trim_end_matches('.'))
        }
        _ if status.starts_with('2') => "Done".to_owned(),
        _ => "A refusal; its `code` says which".to_owned(),
    }
}

/// `TransferPage` for `Page_Transfer`, with items that are the `Transfer` of everywhere else.
fn name_pages(components: &mut Components) {
    let (pages, mut others): (BTreeMap<_, _>, BTreeMap<_, _>) =
        std::mem::take(&mut components.schemas)
            .into_iter()
            .partition(|(name, _)| name.starts_with(GENERIC));

    for (name, mut page) in pages {
        let item = name.trim_start_matches(GENERIC);
        if let Some(inline) = items(&mut page) {
            let reference = RefOr::Ref(Ref::from_schema_name(item));
            let inline = std::mem::replace(inline, reference);
            if let RefOr::T(schema) = inline {
                others.entry(item.to_owned()).or_insert(RefOr::T(schema));
            }
        }
        others.insert(format!("{item}Page"), page);
    }

    components.schemas = others;
}

/// The items of a page's `data`.
fn items(page: &mut RefOr<Schema>) -> Option<&mut RefOr<Schema>> {
    let RefOr::T(Schema::Object(object)) = page else {
        return None;
    };

    let RefOr::T(Schema::Array(Array {
        items: ArrayItems::RefOrSchema(items),
        schema_type,
        ..
    })) = object.properties.get_mut("data")?
    else {
        return None;
    };

    (*schema_type == SchemaType::Type(Type::Array)).then_some(items)
}

/// Calls pages by their published names.
fn refer(response: &mut Response) {
    for content in response.content.values_mut() {
        let RefOr::T(Content {
            schema: Some(RefOr::Ref(reference)),
            ..
        }) = content
        else {
            continue;
        };
        if let Some(item) = reference
            .ref_location
            .strip_prefix("#/components/schemas/Page_")
        {
            *reference = Ref::from_schema_name(format!("{item}Page"));
        }
    }
}
