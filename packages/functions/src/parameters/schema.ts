type Json = Record<string, unknown>;

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The JSON Schema that a function's `parameters` stand for. `parameters` is the `properties` part only, so a required
 * parameter says so itself, `"required": true`, at any depth; that older form is turned into JSON Schema's list.
 */
export function schemaOfParameters(parameters: Json): Json {
  return withRequiredLists({ type: "object", properties: parameters });
}

function withRequiredLists(schema: Json): Json {
  const result: Json = {};
  for (const [key, value] of Object.entries(schema)) {
    if (key === "required" && typeof value === "boolean") continue;
    if (key === "properties" && isObject(value)) {
      const properties: Json = {};
      for (const [name, property] of Object.entries(value))
        define(properties, name, isObject(property) ? withRequiredLists(property) : property);
      result.properties = properties;
    } else if (isObject(value) && key !== "default" && key !== "const") define(result, key, withRequiredLists(value));
    else if (Array.isArray(value) && key !== "enum" && key !== "examples" && key !== "default" && key !== "const")
      define(
        result,
        key,
        value.map((item) => (isObject(item) ? withRequiredLists(item) : item)),
      );
    else define(result, key, value);
  }
  if (isObject(schema.properties)) {
    const required = new Set(Array.isArray(schema.required) ? schema.required : []);
    for (const [name, property] of Object.entries(schema.properties)) {
      if (isObject(property) && property.required === true) required.add(name);
    }
    if (required.size > 0) result.required = [...required];
  }
  return result;
}

/** Sets a key that may be `__proto__`. */
function define(target: Json, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true });
}
