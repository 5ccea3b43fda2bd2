"""How AWS is asked: sessions and clients, ARNs, the pace of calls within quotas, and what descriptions mean.

It knows boto3 and the errors of the client, nothing of pipelines. `sessions` makes clients and turns what AWS refuses
into errors with a remedy, `pace` spaces calls, and answers go out as plain data of our own (`descriptions`).
"""
