use treadle::{json, Context, Response};

/// Answers every request.
pub fn main(context: Context) -> Response {
    let name = context.req.query.get("name").map_or("world", String::as_str);
    context.log(format!("Greeting {name}"));
    context.res.json(json!({ "language": "rust", "message": format!("Hello, {name}!") }))
}
