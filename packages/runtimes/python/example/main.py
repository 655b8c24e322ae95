def main(context):
    context.log("called with " + context.req.method + " " + context.req.path)
    return context.res.json({"language": "python", "message": "Hello from Treadle"})
