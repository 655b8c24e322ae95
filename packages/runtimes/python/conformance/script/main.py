def handle(data):
    action = data["variables"]["action"]
    if action == "echo":
        return data
    if action == "change":
        variables = data["flow"]["variables"]
        return {
            "payload": data["payload"] + "!",
            "meta": {**data["meta"], "seen": True},
            "flow": {"variables": {**variables, "count": variables.get("count", 0) + 1}},
            "logs": ["changed"],
        }
    if action == "code":
        return {"response_code": 2}
    if action == "throw":
        raise ValueError("Script failed")
    if action == "log":
        print("printed")
        return data
    return None
