"""What people drew: from CVAT, COCO or YOLO into the dataset index, and out again."""
