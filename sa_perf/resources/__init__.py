"""What an application lives on: memory, disks, pools; alerts."""
