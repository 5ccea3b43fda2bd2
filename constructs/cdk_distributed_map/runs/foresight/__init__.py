"""What a plan is made from: pipelines in a cloud assembly, deployed ones, and runs that have ended.

It knows the room `plan`, which it hands what it has found, and reads templates, AWS and files of runs through the
other rooms of the client. It decides nothing: what follows from the numbers is the plan's.
"""
