import statistics

print("numbers:", len(numbers))
return {"mean": statistics.mean(numbers), "median": statistics.median(numbers)}
